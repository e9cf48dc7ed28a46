import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A secret that was put somewhere, by where; told from every other by its own bytes. */
export type Canary = { readonly where: string; readonly text: string }

export type Cage = {
  /** A new one, with the same text in every run. */
  make(where: string): string
  /** One that somebody else made: a key file, an answer that is shown once. Of a PEM each line of its body is one. */
  keep(where: string, text: string): void
  all(): readonly Canary[]
}

export function openCage(): Cage {
  const kept: Canary[] = []
  const keep = (where: string, text: string): void => {
    const lines = text
      .split('\n')
      .filter((line) => line.length >= 16 && !line.startsWith('-----'))
      .map((line) => line.trim())
    const [first = text] = lines
    kept.push({ where, text: first })
  }
  return {
    all: () => kept,
    keep,
    make: (where) => {
      const text = `canary${createHash('sha256').update(where).digest('hex').slice(0, 40)}`
      kept.push({ where, text })
      return text
    },
  }
}

/** As a sentence for a test: which canary was seen where. Nothing else of the text is quoted. */
export const sightings = (canaries: readonly Canary[], text: Buffer | string, place: string): string[] => {
  const found = typeof text === 'string' ? Buffer.from(text) : text
  return canaries.filter((one) => found.includes(one.text)).map(({ where }) => `${where}: seen in ${place}`)
}

/** Every file below `dir` but those that are there to hold a secret. */
export function sightingsIn(dir: string, canaries: readonly Canary[], isKeyFile: (path: string) => boolean): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' }).flatMap((name) => {
    const path = join(dir, name)
    return isKeyFile(name) || !statSync(path, { throwIfNoEntry: false })?.isFile()
      ? []
      : sightings(canaries, readFileSync(path), name)
  })
}
