import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { dirname } from 'node:path'

export type ProgramSpec = {
  readonly name: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly log: string
  readonly cwd?: string
  /** Start again when it ends by itself. */
  readonly restart: boolean
  readonly onExit?: (what: string) => void
}

/** One supervised program: a process group of its own, so that what it starts dies with it. */
export type Program = {
  readonly name: string
  pid(): number | undefined
  /** SIGTERM, then SIGKILL after `graceMs`. Never started again. */
  stop(graceMs: number): Promise<void>
  /** SIGKILL of the whole group at once. Never started again. */
  kill(): Promise<void>
  signal(name: NodeJS.Signals): void
}

const logBytesMax = 8 * 1024 * 1024

export function startProgram(spec: ProgramSpec): Program {
  let child: ChildProcess | undefined
  let lastPid: number | undefined
  let exited: Promise<void> = Promise.resolve()
  let over = false
  let failures = 0
  let timer: NodeJS.Timeout | undefined
  launch()
  return {
    name: spec.name,
    pid: () => child?.pid,
    signal: (name) => group(name),
    kill: async () => {
      end()
      group('SIGKILL')
      await exited
    },
    stop: async (graceMs) => {
      end()
      if (!child) return
      child.kill('SIGTERM')
      const late = setTimeout(() => group('SIGKILL'), graceMs)
      await exited
      clearTimeout(late)
      group('SIGKILL')
    },
  }

  function end(): void {
    over = true
    if (timer) clearTimeout(timer)
  }

  function group(name: NodeJS.Signals): void {
    if (lastPid === undefined) return
    try {
      process.kill(-lastPid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  function launch(): void {
    const [program = '', ...args] = spec.command
    const log = openLog(spec.log)
    const started = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...spec.env },
      ...(spec.cwd ? { cwd: spec.cwd } : {}),
    })
    child = started
    lastPid = started.pid
    started.stdout?.pipe(log, { end: false })
    started.stderr?.pipe(log, { end: false })
    const startedAt = Date.now()
    exited = new Promise((resolve) => {
      const gone = (what: string) => {
        child = undefined
        log.end()
        resolve()
        if (over) return
        spec.onExit?.(what)
        if (!spec.restart) return
        failures = Date.now() - startedAt > 10_000 ? 0 : failures + 1
        timer = setTimeout(
          () => {
            group('SIGKILL')
            launch()
          },
          Math.min(5000, 100 * 2 ** failures),
        )
      }
      started.once('error', (error) => gone(error.message))
      started.once('exit', (code, signal) => gone(signal ?? `exit code ${code}`))
    })
  }
}

function openLog(path: string) {
  mkdirSync(dirname(path), { recursive: true })
  try {
    if (statSync(path).size > logBytesMax) truncateSync(path)
  } catch {
    // No log yet.
  }
  return createWriteStream(path, { flags: 'a' })
}

/** The last lines of a program's log, for an error message. */
export function tailOf(path: string, lines = 6): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  } catch {
    return '(no log)'
  }
}
