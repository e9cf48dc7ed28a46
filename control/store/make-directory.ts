import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Makes a directory and those above it, mode 0700, one step for each part of the path. Node's own recursive form asks
 * again for ever where a file system answers ENOENT below a directory that is there, as /proc does (Node 20 and 24).
 * Throws what the file system says. The same in cli, control/store, gateway and infra/setup, which have no room in common that
 * touches files; tests/make-directory.test.ts keeps the four alike.
 */
export function makeDirectory(path: string): void {
  if (isDirectory(path)) return
  const above = dirname(path)
  if (above !== path) makeDirectory(above)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Another process was faster, perhaps.
    if (!isDirectory(path)) throw error
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}
