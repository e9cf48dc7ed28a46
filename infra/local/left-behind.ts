import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { markVariable } from './program.ts'

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
    if (![...found].some(holdsAnything)) break
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  return found.size
}

/** A dying process loses its environment first and its sockets later: only one that is gone, or a zombie, has neither. */
function holdsAnything(pid: number): boolean {
  const stat = wordsOf(`/proc/${pid}/stat`)[0] ?? ''
  const state = stat.slice(stat.lastIndexOf(')') + 2)[0]
  return state !== undefined && state !== 'Z' && state !== 'X'
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

/** Empty for a process of somebody else, and for one that is gone. */
function wordsOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\0')
  } catch {
    return []
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in between.
  }
}
