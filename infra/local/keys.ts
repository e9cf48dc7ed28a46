import { readFileSync } from 'node:fs'
import type { Sandbox } from './sandbox.ts'

export type Keys = { readonly help: string; close(): void }

const readyMs = 60_000
const controlC = '\u0003'

/**
 * Single keys in the foreground terminal: `1` `2` `3` kill a cluster or bring it back, `c` the centre, `q` ends. Undefined
 * where there is no terminal of ours to read. `quit` also stands for Ctrl-C, which a raw terminal gives as a key.
 */
export function listenToKeys(sandbox: Sandbox, say: (line: string) => void, quit: () => void): Keys | undefined {
  const { stdin } = process
  if (!stdin.isTTY || !inForeground()) return undefined
  const busy = new Set<string>()
  stdin.setRawMode(true)
  stdin.setEncoding('utf8').on('data', (typed: string) => {
    for (const key of typed) press(key)
  })
  return {
    help: `Keys: ${sandbox.members.map(({ plan }, n) => `${n + 1} ${plan.name}`).join(', ')}, c centre (kill, or bring back), q quit`,
    close: () => {
      stdin.setRawMode(false)
      stdin.pause()
    },
  }

  function press(key: string): void {
    const one = sandbox.members[Number(key) - 1]
    if (key === 'q' || key === controlC) quit()
    else if (one) toggle(one.plan.name, one.running(), one.kill, () => restore(one.plan.name))
    else if (key === 'c') toggle('the centre', sandbox.centreRuns(), sandbox.killCentre, sandbox.startCentre)
  }

  async function restore(name: string): Promise<void> {
    await sandbox.startMember(name)
    await sandbox.memberReady(name, readyMs)
  }

  function toggle(name: string, runs: boolean, kill: () => Promise<void>, start: () => Promise<void>): void {
    if (busy.has(name)) return
    busy.add(name)
    say(`${runs ? 'killing' : 'starting'} ${name} …`)
    const began = Date.now()
    ;(runs ? kill() : start())
      .then(
        () =>
          say(
            `${runs ? '✘' : '✔'} ${name} is ${runs ? 'dead' : 'back'}  ${((Date.now() - began) / 1000).toFixed(1)} s`,
          ),
        (error: Error) => say(`✘ ${name}: ${error.message}`),
      )
      .finally(() => busy.delete(name))
  }
}

/** A job in the background would be stopped by the kernel for touching the terminal. */
function inForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const [, , group, , , terminalGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return group === terminalGroup
}
