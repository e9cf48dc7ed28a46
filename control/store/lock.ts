import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Problem } from '#mesh/model/problem.ts'

/** Who holds a directory: a process id alone is not enough, because ids are used again; nor is it after a reboot. */
type Holder = { readonly pid: number; readonly start: string; readonly boot: string }

export type DirectoryLock = {
  /** True when the last holder ended with the machine (power cut, reset): what was not fsynced may be gone. */
  readonly machineDied: boolean
  release(): void
}

/**
 * Takes the lock file of a data directory. The lock of a process that is gone is taken over; a live one throws
 * `conflict` that names its pid and the directory. Source: PGlite opens a directory twice without a word (measured).
 */
export function lockDirectory(dir: string): DirectoryLock {
  const file = join(dir, 'centre.lock')
  const mine = `${file}.${process.pid}`
  writeFileSync(mine, JSON.stringify(holderOf(process.pid)), { mode: 0o600 })
  try {
    return { machineDied: take(file, mine, dir), release: () => releaseLock(file) }
  } finally {
    rmSync(mine, { force: true })
  }
}

function take(file: string, mine: string, dir: string): boolean {
  try {
    linkSync(mine, file)
    return false
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const before = readHolder(file)
  if (before && alive(before)) throw held(before, dir)
  // Two may find the same stale lock. One of them gets the guard; the other is told to look again.
  const guard = `${file}.takeover`
  try {
    linkSync(mine, guard)
  } catch {
    if (Date.now() - (statSync(guard, { throwIfNoEntry: false })?.mtimeMs ?? 0) > 10_000) rmSync(guard, { force: true })
    throw new Problem('conflict', `another centre is starting on ${dir} at this moment: start one only, or try again`)
  }
  try {
    const now = readHolder(file)
    if (now && alive(now)) throw held(now, dir)
    renameSync(mine, file)
    return now !== undefined && now.boot !== bootId()
  } finally {
    rmSync(guard, { force: true })
  }
}

function releaseLock(file: string): void {
  const holder = readHolder(file)
  if (holder?.pid === process.pid) rmSync(file, { force: true })
}

const held = (holder: Holder, dir: string): Problem =>
  new Problem(
    'conflict',
    `the directory ${dir} is in use by another centre, process ${holder.pid}: stop that one, or give this one another --data`,
    { extra: { pid: holder.pid } },
  )

const alive = (holder: Holder): boolean => holder.boot === bootId() && startOf(holder.pid) === holder.start

/** A lock file that cannot be read says nothing of a live holder: it is written whole, by link or rename. */
function readHolder(file: string): Holder | undefined {
  try {
    const { pid, start, boot } = JSON.parse(readFileSync(file, 'utf8')) as Holder
    return typeof pid === 'number' && typeof start === 'string' && typeof boot === 'string'
      ? { pid, start, boot }
      : undefined
  } catch {
    return undefined
  }
}

const holderOf = (pid: number): Holder => ({ pid, start: startOf(pid) ?? '', boot: bootId() })

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

/** Clock ticks from boot to the start of the process (field 22 of its stat); undefined when it is gone or a zombie. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}
