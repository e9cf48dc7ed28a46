import { readFileSync } from 'node:fs'

/** When a process was started, in ticks since boot: tells it from a later one with the same number. Undefined = it is gone. */
export function startOf(pid: number): string | undefined {
  const [state, ...rest] = statOf(pid)
  return state === undefined || state === 'Z' || state === 'X' ? undefined : rest[18]
}

export const parentOf = (pid: number): number => Number(statOf(pid)[1] ?? 0)

/** The words of a file of /proc that are divided by NUL. Empty for a process of somebody else, and for one that is gone. */
export function wordsOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\0')
  } catch {
    return []
  }
}

/** The fields of a process from its state on (proc_pid_stat(5)). */
function statOf(pid: number): (string | undefined)[] {
  const stat = wordsOf(`/proc/${pid}/stat`)[0] ?? ''
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === '' ? [] : fields
}
