import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

type Claim = {
  readonly pid: number
  readonly started: string
  readonly programs: readonly { readonly pid: number; readonly started: string }[]
}

/** The directory's one running sandbox. Remembers its programs, so that a sandbox killed with -9 leaves nothing behind for long. */
export type Turn = { programs(pids: readonly number[]): void; release(): void }

/** Takes the directory, or gives undefined where a living sandbox has it. What a dead one left running is ended first. */
export function takeTurn(dir: string): Turn | undefined {
  const path = join(dir, 'running.json')
  mkdirSync(dir, { recursive: true })
  const before = read(path)
  if (before && before.started === startOf(before.pid)) return undefined
  for (const { pid, started } of before?.programs ?? []) if (startOf(pid) === started) killGroup(pid)
  const own = { pid: process.pid, started: startOf(process.pid) ?? '' }
  const write = (pids: readonly number[]) => {
    const programs = pids.flatMap((pid) => {
      const started = startOf(pid)
      return started ? [{ pid, started }] : []
    })
    writeFileSync(path, JSON.stringify({ ...own, programs }))
  }
  write([])
  return { programs: write, release: () => rmSync(path, { force: true }) }
}

function read(path: string): Claim | undefined {
  if (!existsSync(path)) return undefined
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Claim
  } catch {
    return undefined
  }
}

/** When a process was started, in ticks since boot: tells it from a later one with the same number. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It ended in between.
  }
}
