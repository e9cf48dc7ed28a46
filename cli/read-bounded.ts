import { closeSync, openSync, readSync } from 'node:fs'

/** The first bytes of a file, at most `max` and one more: what never ends (a device) or has gigabytes is not held whole. */
export function readBounded(path: string | 0, max: number): Buffer {
  const file = path === 0 ? 0 : openSync(path, 'r')
  try {
    const parts: Buffer[] = []
    for (let left = max + 1; left > 0; ) {
      const part = Buffer.alloc(Math.min(left, 64 << 10))
      const length = readSync(file, part, 0, part.length, null)
      if (length === 0) break
      parts.push(part.subarray(0, length))
      left -= length
    }
    return Buffer.concat(parts)
  } finally {
    if (path !== 0) closeSync(file)
  }
}
