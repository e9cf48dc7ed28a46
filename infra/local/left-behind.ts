import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { startOf, wordsOf } from './process-facts.ts'
import { markVariable } from './program.ts'
import { type Supervisor, supervisorOf } from './supervisor.ts'

const goneMs = 5000

/**
 * Kills every process of a run directory, or of a folder in it, and waits until they are gone: what a sandbox that was
 * killed itself left running. They are known by the mark in their environment; Envoy, which gets none, by its
 * command line. Gives how many there were.
 */
export async function endLeftBehind(runDir: string): Promise<number> {
  const found = new Set<number>()
  // Again and again: a supervisor among them may have started another program in between.
  for (const end = Date.now() + goneMs; Date.now() < end; ) {
    for (const pid of processesOf(runDir)) {
      found.add(pid)
      kill(pid)
    }
    // A dying process loses its environment first and its sockets later: only one that is gone, or a zombie, has neither.
    if (![...found].some((pid) => startOf(pid) !== undefined)) break
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  return found.size
}

/** The living sandbox, other than this process, whose programs work in a run directory. */
export function supervisorIn(runDir: string): Supervisor | undefined {
  return processesOf(runDir)
    .map(supervisorOf)
    .find((one) => one !== undefined)
}

/** The processes that work in a run directory, other than this one. */
export function processesOf(runDir: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name)
    return Number.isInteger(pid) && pid !== process.pid && belongsTo(name, runDir) ? [pid] : []
  })
}

function belongsTo(pid: string, runDir: string): boolean {
  const within = (path: string | undefined) => path === runDir || path?.startsWith(`${runDir}/`) === true
  const marked = wordsOf(`/proc/${pid}/environ`).some(
    (one) => one.startsWith(`${markVariable}=`) && within(one.slice(markVariable.length + 1)),
  )
  if (marked) return true
  const [program = '', ...args] = wordsOf(`/proc/${pid}/cmdline`)
  return basename(program) === 'envoy' && args.some(within)
}

const kill = (pid: number): void => signalTo(pid, 'SIGKILL')

/** Sends a signal to a process that may have ended in between. */
export function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended in between.
  }
}
