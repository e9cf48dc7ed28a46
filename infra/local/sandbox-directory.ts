import { mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'

/** What a fleet is made of; `--fresh` removes exactly these. */
const fleet = ['centre', 'clusters', 'logs']

/** The centre's database, and all logs at their largest. */
const megabytesMin = 200

/**
 * Makes the sandbox's directory. Throws where there is no room for it, and where it holds anything that no sandbox
 * wrote: `--fresh` would remove it one day.
 */
export function openDirectory(dir: string): void {
  mkdirSync(dir, { recursive: true })
  const { bavail, bsize } = statfsSync(dir)
  const megabytes = Math.floor((bavail * bsize) / 1024 ** 2)
  if (megabytes < megabytesMin)
    throw new Error(
      `${dir}: its disk has ${megabytes} MB left and a sandbox needs ${megabytesMin}: make room, or set ISTHMUS_SANDBOX ` +
        'to a directory elsewhere',
    )
  const strange = readdirSync(dir).find((name) => !fleet.includes(name) && !name.startsWith('running.json'))
  if (strange === undefined) return
  throw new Error(`${dir} is no sandbox (there is ${strange}): set ISTHMUS_SANDBOX to a new or an empty directory`)
}

export function emptyDirectory(dir: string): void {
  for (const part of fleet) rmSync(join(dir, part), { recursive: true, force: true })
}
