import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startOf } from './process-facts.ts'
import { isAlive } from './supervisor.ts'

/** Who runs the sandbox of a directory, and what a second start tells the user. */
export type Holder = { readonly pid: number; readonly started: string; readonly addresses: string }

export type Turn = { readonly kind: 'taken'; release(): void } | { readonly kind: 'held'; readonly by: Holder }

/**
 * Takes the directory for this process, or says which living sandbox has it. A dead holder's claim is moved aside, which
 * only one of two starters can do. Throws what the file system says where the directory, which exists, cannot be written.
 */
export function takeTurn(dir: string, addresses: string): Turn {
  const path = join(dir, 'running.json')
  const own = `${path}.${process.pid}`
  writeFileSync(own, JSON.stringify({ pid: process.pid, started: startOf(process.pid) ?? '', addresses }))
  try {
    while (!link(own, path)) {
      const before = read(path)
      if (before && isAlive(before)) return { kind: 'held', by: before }
      moveAside(path, `${path}.${process.pid}.old`)
    }
    return {
      kind: 'taken',
      release: () => (read(path)?.pid === process.pid ? rmSync(path, { force: true }) : undefined),
    }
  } finally {
    rmSync(own, { force: true })
  }
}

/** Appears whole or not at all, and never over another's. */
function link(own: string, path: string): boolean {
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function moveAside(path: string, aside: string): void {
  try {
    renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  const moved = read(aside)
  // Another starter was quicker, and it is its living claim that was moved: it gets it back.
  if (moved && isAlive(moved)) link(aside, path)
  rmSync(aside, { force: true })
}

function read(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder
  } catch {
    return undefined
  }
}
