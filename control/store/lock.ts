import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Problem } from '#mesh/model/problem.ts'

/** Who holds a directory: a process id alone is not enough, because ids are used again; nor is it after a reboot. */
type Holder = { readonly pid: number; readonly start: string; readonly boot: string }

export type DirectoryLock = {
  /**
   * True when a holder ended with the machine (power cut, reset) and `settled` was not said since: what was not fsynced
   * may be gone.
   */
  readonly machineDied: boolean
  /** Says that what the machine's death left behind was seen to. */
  settled(): void
  release(): void
}

/**
 * Takes the lock file of a data directory. The lock of a process that is gone is taken over; a live one throws
 * `conflict` that names its pid and the directory. Killed at any moment, the next start takes it as this one would have,
 * and knows as well whether the machine died. Source: PGlite opens a directory twice without a word (measured).
 */
export function lockDirectory(dir: string): DirectoryLock {
  const file = join(dir, 'centre.lock')
  const mine = `${file}.${process.pid}`
  const died = `${file}.machine-died`
  writeFileSync(mine, JSON.stringify(holderOf(process.pid)), { mode: 0o600 })
  try {
    take(dir, { file, mine, died })
  } finally {
    rmSync(mine, { force: true })
  }
  return {
    machineDied: existsSync(died),
    settled: () => rmSync(died, { force: true }),
    release: () => releaseLock(file),
  }
}

type Files = { readonly file: string; readonly mine: string; readonly died: string }

function take(dir: string, { file, mine, died }: Files): void {
  for (let tries = 0; tries < 3; tries++) {
    try {
      linkSync(mine, file)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = readHolder(file)
    if (holder === 'gone') continue
    if (holder && isAlive(holder)) throw held(holder, dir)
    // Noted before the lock goes that says so. Only a machine that died leaves a lock that cannot be read.
    if (holder?.boot !== bootId()) writeFileSync(died, '', { mode: 0o600, flush: true })
    // Moved away before it is removed: of two that find the same stale lock only one can move it.
    const stale = `${mine}.stale`
    try {
      renameSync(file, stale)
    } catch {
      continue
    }
    const moved = readHolder(stale)
    if (moved && moved !== 'gone' && isAlive(moved)) {
      // Another took the stale one a moment ago, and this was its fresh lock: it gets it back.
      try {
        linkSync(stale, file)
      } catch {
        // A third one was faster; one of them is told.
      }
      rmSync(stale, { force: true })
      throw held(moved, dir)
    }
    rmSync(stale, { force: true })
  }
  throw new Problem('conflict', `another centre is starting on ${dir} at this moment: start one only, or try again`)
}

function releaseLock(file: string): void {
  const holder = readHolder(file)
  if (holder !== 'gone' && holder?.pid === process.pid) rmSync(file, { force: true })
}

const held = (holder: Holder, dir: string): Problem =>
  new Problem(
    'conflict',
    `the directory ${dir} is in use by another centre, process ${holder.pid}: stop that one, or give this one another --data`,
    { extra: { pid: holder.pid } },
  )

const isAlive = (holder: Holder): boolean => holder.boot === bootId() && startOf(holder.pid) === holder.start

/** Undefined for a file that cannot be read: it says nothing of a live holder, because it is written whole, by link. */
function readHolder(file: string): Holder | 'gone' | undefined {
  try {
    const { pid, start, boot } = JSON.parse(readFileSync(file, 'utf8')) as Holder
    const whole = typeof pid === 'number' && typeof start === 'string' && typeof boot === 'string'
    return whole ? { pid, start, boot } : undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : undefined
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
