import { copyFileSync, renameSync, rmSync } from 'node:fs'

/**
 * Moves what lies at `path` and cannot be used to `<path>.damaged`, in the place of what was set aside before, so that a
 * person can look at it and put it back. With `keep` the original stays, and a copy goes there. Gives what became of it,
 * as the end of a sentence; never throws: a disk that takes nothing must not end whoever found the damage.
 */
export function setAside(path: string, keep?: 'keep'): string {
  const place = `${path}.damaged`
  try {
    rmSync(place, { recursive: true, force: true })
    if (keep) copyFileSync(path, place)
    else renameSync(path, place)
    return keep ? `a copy was set aside as ${place}` : `it was set aside as ${place}`
  } catch (cause) {
    return `it could not be set aside: ${(cause as Error).message}`
  }
}
