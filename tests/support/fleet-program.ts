import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'

export type ProgramSpec = {
  readonly name: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly log: string
  /** Start again when it ends by itself, 0.1 to 2 s later. */
  readonly restart?: true
  readonly onExit?: () => void
}

/** One program in a process group of its own. None outlives this process, however that ends. */
export type Program = {
  readonly name: string
  /** Undefined while it does not run. */
  pid(): number | undefined
  /** SIGKILL of the group; not started again until `up`. */
  down(): Promise<void>
  up(): void
  /** SIGTERM, then SIGKILL of the group after `graceMs`. Never started again. */
  stop(graceMs: number): Promise<void>
  /** SIGKILL of the group. Never started again. */
  kill(): Promise<void>
}

const backoffMsMin = 100
const backoffMsMax = 2000

const groups = new Set<number>()
process.on('exit', () => groups.forEach(killGroup))

/** The kernel kills the program with us where nothing runs any more that could: this process was itself killed -9. */
const guard: readonly string[] =
  spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0 ? ['setpriv', '--pdeathsig', 'KILL'] : []

/** What of our environment programs see: a DATABASE_URL or setting that lies around here is not for them. */
const environment = Object.fromEntries(
  ['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  }),
)

export function startProgram(spec: ProgramSpec): Program {
  let child: ChildProcess | undefined
  let exited: Promise<void> = Promise.resolve()
  let over = false
  let held = false
  let failures = 0
  let timer: NodeJS.Timeout | undefined
  mkdirSync(dirname(spec.log), { recursive: true })
  const launch = (): void => {
    const [program = '', ...words] = [...guard, ...spec.command]
    const log = openSync(spec.log, 'a')
    const env = { ...environment, ...spec.env }
    const started = spawn(program, words, { detached: true, stdio: ['ignore', log, log], env })
    closeSync(log)
    child = started
    if (started.pid !== undefined) groups.add(started.pid)
    exited = new Promise((resolve) => {
      const gone = () => {
        child = undefined
        if (started.pid !== undefined) killGroup(started.pid)
        resolve()
        if (over) return
        spec.onExit?.()
        if (spec.restart && !held) timer = setTimeout(launch, Math.min(backoffMsMax, backoffMsMin * 2 ** failures++))
      }
      started.once('error', gone).once('exit', gone)
    })
  }
  const end = async (signal: NodeJS.Signals, graceMs: number): Promise<void> => {
    over = true
    clearTimeout(timer)
    const pid = child?.pid
    if (pid === undefined) return
    const late = setTimeout(() => killGroup(pid), graceMs)
    child?.kill(signal)
    await exited
    clearTimeout(late)
  }
  launch()
  return {
    name: spec.name,
    pid: () => child?.pid,
    down: async () => {
      held = true
      clearTimeout(timer)
      if (child?.pid === undefined) return
      killGroup(child.pid)
      await exited
    },
    up: () => {
      held = false
      if (!child && !over) launch()
    },
    stop: (graceMs) => end('SIGTERM', graceMs),
    kill: () => end('SIGKILL', 0),
  }
}

function killGroup(pid: number): void {
  groups.delete(pid)
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended already.
  }
}

/** The last lines of a program's log. */
export function tailOf(path: string, lines: number): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  } catch {
    return '(no log)'
  }
}
