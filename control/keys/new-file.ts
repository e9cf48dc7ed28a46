import { closeSync, fsyncSync, linkSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Writes a file of mode 0600 that was not there: whole or not at all, and never over one that is. Comes back when file
 * and directory are on disk; throws the system's error, `EEXIST` where it is there already.
 *
 * Temporary file, fsync, then a hard link instead of a rename: a link fails where a rename would replace. `nonce` keeps
 * two that race from writing into one temporary file.
 */
export function writeNewFile(path: string, text: string, nonce: Uint8Array): void {
  const temporary = `${path}.${Buffer.from(nonce).toString('hex')}.new`
  try {
    writeFileSync(temporary, text, { mode: 0o600, flag: 'wx', flush: true })
    linkSync(temporary, path)
  } finally {
    rmSync(temporary, { force: true })
  }
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

export const codeOf = (cause: unknown): string =>
  cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
