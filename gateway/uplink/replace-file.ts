import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Writes a file so that a crash at any moment leaves the old or the new one, whole: temporary name, fsync, rename,
 * fsync of the directory. Throws the system's error (a full disk, a read-only directory) with the old file untouched.
 * One process at a time writes a path, so that crashes leave one temporary file and not one each.
 */
export function replaceFile(path: string, data: string | Uint8Array, mode: number): void {
  const temporary = `${path}.new`
  try {
    const file = openSync(temporary, 'w', mode)
    try {
      const bytes = typeof data === 'string' ? Buffer.from(data) : data
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  } catch (cause) {
    rmSync(temporary, { force: true })
    throw cause
  }
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
