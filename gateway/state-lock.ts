import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeDirectory } from '#gateway/make-directory.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { Problem } from '#mesh/model/problem.ts'

type Log = { warn(facts: object, text: string): void }

/**
 * The state directory, made where it is missing, for this process alone. A lock that cannot be written (a full disk, a
 * read-only one) does not keep a relay from serving what it knows.
 */
export function takeState(stateDir: string, log: Log): () => void {
  try {
    makeDirectory(stateDir)
  } catch (cause) {
    throw new Problem(
      'unavailable',
      `the state directory ${stateDir} cannot be made: ${fileFault(cause)}; make it, or set "state" in isthmus.yaml`,
      { cause },
    )
  }
  try {
    return lockState(stateDir)
  } catch (error) {
    if (error instanceof Problem) throw error
    log.warn({ stateDir, err: (error as Error).message }, 'the state directory cannot be written; served from memory')
    return () => undefined
  }
}

/** A process id alone says little: ids are used again, and after a reboot all of them are. */
type Holder = { readonly pid: number; readonly start: string; readonly boot: string }

/**
 * Takes the lock of a relay's state directory; the answer gives it back. Two relays on one directory would tear each
 * other's state and depose each other's reports for ever. The lock of a process that is gone is taken over. Throws
 * `conflict` that names the live one's pid, and the system's error where the file cannot be written.
 */
function lockState(dir: string): () => void {
  const file = join(dir, 'relay.lock')
  const mine = `${file}.${process.pid}`
  writeFileSync(mine, JSON.stringify(holderOf(process.pid)), { mode: 0o600 })
  try {
    take(dir, file, mine)
  } finally {
    rmSync(mine, { force: true })
  }
  return () => {
    if (readHolder(file)?.pid === process.pid) rmSync(file, { force: true })
  }
}

function take(dir: string, file: string, mine: string): void {
  for (let tries = 0; tries < 3; tries++) {
    try {
      linkSync(mine, file)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = readHolder(file)
    if (holder && isAlive(holder)) throw held(dir, holder.pid)
    // Moved away before it is removed: of two that find the same stale lock only one can move it.
    const stale = `${mine}.stale`
    try {
      renameSync(file, stale)
    } catch {
      continue
    }
    const moved = readHolder(stale)
    if (moved && isAlive(moved)) {
      // Another took the stale one a moment ago, and this was its fresh lock: it gets it back.
      try {
        linkSync(stale, file)
      } catch {
        // A third one was faster; one of them is told.
      }
      rmSync(stale, { force: true })
      throw held(dir, moved.pid)
    }
    rmSync(stale, { recursive: true, force: true })
  }
  throw new Problem('conflict', `another relay is starting on ${dir} at this moment: start one only, or try again`)
}

const held = (dir: string, pid: number): Problem =>
  new Problem(
    'conflict',
    `the state directory ${dir} is in use by another relay, process ${pid}: end that one, or give this one ` +
      'another --dir; two relays never share a directory',
    { extra: { pid } },
  )

const isAlive = (holder: Holder): boolean => holder.boot === bootId() && startOf(holder.pid) === holder.start

/** Written whole, by link: a file that cannot be read is nobody's. */
function readHolder(file: string): Holder | undefined {
  try {
    const { pid, start, boot } = JSON.parse(readFileSync(file, 'utf8')) as Holder
    const whole = typeof pid === 'number' && typeof start === 'string' && typeof boot === 'string'
    return whole ? { pid, start, boot } : undefined
  } catch {
    return undefined
  }
}

const holderOf = (pid: number): Holder => ({ pid, start: startOf(pid) ?? '', boot: bootId() })

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

/** Clock ticks from boot to the start of the process (field 22 of proc_pid_stat(5)); undefined when it is gone or a zombie. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}
