import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** A program's log on disk. Never throws: a full disk costs log lines, never the program. */
export type LogFile = { write(bytes: Uint8Array): void; close(): void }

/** Two files of this size for each of some thirty programs: a sandbox under load for days keeps its logs below 130 MB. */
const logBytesMax = 2 * 1024 * 1024

/**
 * Appends to `path`; a full file becomes `<path>.1`, and what was there before is dropped. Written in one piece with the
 * arrival, so nothing queues up in memory when the disk is slow.
 */
export function openLogFile(path: string, bytesMax: number = logBytesMax): LogFile {
  let file: number | undefined
  let bytes = 0
  const open = () => {
    mkdirSync(dirname(path), { recursive: true })
    file = openSync(path, 'a', 0o600)
    bytes = fstatSync(file).size
  }
  const close = () => {
    if (file !== undefined) closeSync(file)
    file = undefined
  }
  return {
    write: (chunk) => {
      try {
        if (file === undefined) open()
        if (bytes + chunk.length > bytesMax && bytes > 0) {
          close()
          renameSync(path, `${path}.1`)
          open()
        }
        if (file !== undefined) bytes += writeSync(file, chunk)
      } catch {
        // The disk is full or the directory is gone: these lines are lost.
      }
    },
    close: () => {
      try {
        close()
      } catch {
        // It is closed, or the disk lost it.
      }
    },
  }
}

/** The last lines of a program's log, for an error message; each at most 400 characters. */
export function tailOf(path: string, lines = 6): string {
  try {
    const last = readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines)
    return last.map((line) => `    ${line.slice(0, 400)}`).join('\n')
  } catch {
    return '    (it wrote no log)'
  }
}
