import { renameSync, writeFileSync } from 'node:fs'

/** Writes by rename, so that a reader sees the old or the new file, never a half one. */
export function replaceFile(path: string, text: string, mode = 0o644): void {
  prepareFile(path, text, mode)()
}

/** Writes it beside its place; what is given back puts it there. */
export function prepareFile(path: string, text: string, mode = 0o644): () => void {
  const temporary = `${path}.${process.pid}.new`
  writeFileSync(temporary, text, { mode })
  return () => renameSync(temporary, path)
}
