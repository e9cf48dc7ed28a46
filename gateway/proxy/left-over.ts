import { readFileSync, rmSync, writeFileSync } from 'node:fs'

/**
 * The note `<pid> <start time>` about a running Envoy. Where `setpriv` is missing, a killed proxy leaves its Envoy
 * behind, which would hold the ports and serve an old certificate: the next start finds it by this note.
 */
export function noteEnvoy(file: string, pid: number): void {
  const started = startTimeOf(pid)
  if (started !== undefined) writeFileSync(file, `${pid} ${started}\n`, { mode: 0o600 })
}

export const forgetEnvoy = (file: string): void => rmSync(file, { force: true })

/**
 * Kills the Envoy of an earlier run, and says its pid. Only a process that has the noted start time and was started with
 * this `bootstrap`: a pid alone may by now be anybody's.
 */
export function killLeftOver(file: string, bootstrap: string): number | undefined {
  const [pid, started] = readOr(file, '').trim().split(' ')
  forgetEnvoy(file)
  if (!pid || !/^[1-9][0-9]*$/.test(pid) || startTimeOf(Number(pid)) !== started) return undefined
  if (!readOr(`/proc/${pid}/cmdline`, '').split('\0').includes(bootstrap)) return undefined
  try {
    process.kill(Number(pid), 'SIGKILL')
    return Number(pid)
  } catch {
    return undefined
  }
}

/** Clock ticks since boot at which the process started: field 22 of its stat line, counted after the name's bracket. */
export function startTimeOf(pid: number): string | undefined {
  const stat = readOr(`/proc/${pid}/stat`, '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return otherwise
  }
}
