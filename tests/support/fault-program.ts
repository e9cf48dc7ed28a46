import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { root } from '#tests/support/parts.ts'

/** One of our programs as its own process, run from its sources. */
export type FaultProgram = {
  start(): void
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
  /** A signal such as SIGSTOP, which nobody answers. */
  signal(name: NodeJS.Signals): void
  running(): boolean
}

const started = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL')
})

export function faultProgram(parts: {
  readonly entry: string
  readonly args: readonly string[]
  readonly log: string
  readonly env?: Readonly<Record<string, string>>
}): FaultProgram {
  let child: ChildProcess | undefined
  return {
    start: () => {
      const log = createWriteStream(parts.log, { flags: 'a' })
      const made = spawn(process.execPath, [parts.entry, ...parts.args], {
        cwd: root,
        env: { ...process.env, NODE_OPTIONS: '', DATABASE_URL: '', ...parts.env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      for (const out of [made.stdout, made.stderr]) out?.pipe(log, { end: false })
      started.add(made)
      made.once('exit', () => {
        started.delete(made)
        if (child === made) child = undefined
      })
      child = made
    },
    kill: async () => {
      const dying = child
      if (!dying) return
      const gone = new Promise((resolve) => dying.once('exit', resolve))
      dying.kill('SIGKILL')
      await gone
    },
    signal: (name) => child?.kill(name),
    running: () => child !== undefined,
  }
}
