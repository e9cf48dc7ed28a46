import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** What a fleet is made of; `--fresh` removes exactly these. */
const fleet = ['centre', 'clusters', 'logs']

/** Makes the sandbox's directory. Throws where it holds anything that no sandbox wrote: `--fresh` would remove it one day. */
export function openDirectory(dir: string): void {
  mkdirSync(dir, { recursive: true })
  const strange = readdirSync(dir).find((name) => !fleet.includes(name) && !name.startsWith('running.json'))
  if (strange === undefined) return
  throw new Error(`${dir} is no sandbox (there is ${strange}): set ISTHMUS_SANDBOX to a new or an empty directory`)
}

export function emptyDirectory(dir: string): void {
  for (const part of fleet) rmSync(join(dir, part), { recursive: true, force: true })
}
