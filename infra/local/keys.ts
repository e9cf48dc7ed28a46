import { readFileSync } from 'node:fs'
import type { Deeds } from './deeds.ts'
import type { Member } from './member.ts'
import type { Sandbox } from './sandbox.ts'

export type Keys = { readonly help: string; close(): void }

const controlC = '\u0003'

export type KeyParts = {
  readonly sandbox: Sandbox
  readonly deeds: Deeds
  readonly say: (line: string) => void
  readonly quit: () => void
}

/** The cluster that `j` joins. */
const fourth = 'tokyo-1'

/**
 * Single keys in the foreground terminal: `1` `2` `3` kill a cluster or bring it back, `c` the centre, `j` joins a fourth,
 * `q` ends. Undefined where there is no terminal of ours to read. `quit` also stands for Ctrl-C, which a raw terminal
 * gives as a key.
 */
export function listenToKeys({ sandbox, deeds, say, quit }: KeyParts): Keys | undefined {
  const { stdin } = process
  if (!stdin.isTTY || !inForeground()) return undefined
  stdin.setRawMode(true)
  stdin.setEncoding('utf8').on('data', (typed: string) => {
    for (const key of typed) press(key)
  })
  const numbers = sandbox.members.map((_, n) => n + 1).join(' ')
  return {
    help: `Keys: ${numbers} kill or restore a cluster · c centre · j join ${sandbox.members.length > 3 ? 'another' : 'a fourth'} · q quit`,
    close: () => {
      stdin.setRawMode(false)
      stdin.pause()
    },
  }

  function press(key: string): void {
    const one = sandbox.members[Number(key) - 1]
    if (key === 'q' || key === controlC) quit()
    else if (one) toggle(one.plan.name, isWell(one))
    else if (key === 'c') toggle('centre', sandbox.centreState() === 'alive')
    else if (key === 'j') {
      say(`joining ${nextName()} …`)
      tell(deeds.join(nextName()))
    }
  }

  function toggle(name: string, isWhole: boolean): void {
    say(`${isWhole ? 'killing' : 'restoring'} ${name} …`)
    tell(deeds.act(isWhole ? 'kill' : 'restore', name))
  }

  function tell(work: Promise<string>): void {
    work.then(say, (error: Error) => say(`✘ ${error.message}`))
  }

  /** tokyo-1, and tokyo-2 where that is there. */
  function nextName(): string {
    const names = new Set<string>(sandbox.members.map(({ plan }) => plan.name))
    for (let n = 1; ; n++) {
      const name = fourth.replace('1', String(n))
      if (!names.has(name)) return name
    }
  }
}

/** Whether there is something to kill: of a cluster that is hurt, the key mends what is. */
function isWell(one: Member): boolean {
  const { dead, paused, cut } = one.hurt()
  return dead.length === 0 && paused.length === 0 && !cut
}

/** A job in the background would be stopped by the kernel for touching the terminal. */
function inForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const [, , group, , , terminalGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return group === terminalGroup
}
