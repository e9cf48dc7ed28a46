import { type ChildProcess, spawn } from 'node:child_process'
import { openLogFile } from './log-file.ts'
import { supervisorMark } from './supervisor.ts'

export type ProgramSpec = {
  readonly name: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly log: string
  /** Written into the program's environment, so that the next sandbox finds what this one may leave behind. */
  readonly runDir: string
  /** When this is aborted nothing is started any more. */
  readonly signal: AbortSignal
  /** Told whenever the program ends by itself. It is started again, 0.1 to 5 s later. */
  readonly onExit?: (what: string) => void
}

/** One supervised program: a process group of its own, so that what it starts dies with it. */
export type Program = {
  readonly name: string
  /** Of the process that runs now; undefined between an end and the next start. */
  pid(): number | undefined
  /** SIGTERM, then SIGKILL after `graceMs`. Never started again. */
  stop(graceMs: number): Promise<void>
  /** SIGKILL of the whole group at once. Never started again. */
  kill(): Promise<void>
}

/** The variable that marks every program of a sandbox; its value is the run directory, or a folder in it. */
export const markVariable = 'ISTHMUS_SANDBOX_RUN'

const healthyMs = 10_000
const backoffMsMin = 100
const backoffMsMax = 5000

/** Programs see this much of our environment: a DATABASE_URL or a setting of ours that lies around is not for them. */
const passedOn = ['PATH', 'HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'NODE_COMPILE_CACHE']

/** Starts the program and keeps it running. Throws the signal's reason where the sandbox is ending. */
export function startProgram(spec: ProgramSpec): Program {
  spec.signal.throwIfAborted()
  const log = openLogFile(spec.log)
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
    kill: async () => {
      end()
      killGroup()
      await exited
    },
    stop: async (graceMs) => {
      end()
      child?.kill('SIGTERM')
      const late = setTimeout(killGroup, graceMs)
      await exited
      clearTimeout(late)
      killGroup()
    },
  }

  function end(): void {
    over = true
    clearTimeout(timer)
  }

  function killGroup(): void {
    if (lastPid === undefined) return
    try {
      process.kill(-lastPid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  function launch(): void {
    const [program = '', ...args] = spec.command
    const started = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...inherited(), ...spec.env, ...supervisorMark(), [markVariable]: spec.runDir },
    })
    child = started
    lastPid = started.pid
    // Listened to, never piped: a grandchild may write after the program's end.
    started.stdout.on('data', log.write)
    started.stderr.on('data', log.write)
    const startedAt = Date.now()
    exited = new Promise((resolve) => {
      const gone = (what: string) => {
        if (child !== started) return
        child = undefined
        resolve()
        log.write(Buffer.from(`${spec.name} ended: ${what}${over ? '' : '; it is started again'}\n`))
        log.close()
        if (over) return
        spec.onExit?.(what)
        failures = Date.now() - startedAt > healthyMs ? 0 : failures + 1
        timer = setTimeout(again, Math.min(backoffMsMax, backoffMsMin * 2 ** failures))
      }
      started.once('error', (error) => gone(error.message))
      started.once('exit', (code, signal) => gone(signal ?? `exit code ${code}`))
    })
  }

  function again(): void {
    if (over || spec.signal.aborted) return
    killGroup()
    launch()
  }
}

const inherited = (): Record<string, string> =>
  Object.fromEntries(passedOn.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])))
