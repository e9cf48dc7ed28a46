import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { openDatabase } from '#control/store/database.ts'
import { readMigrations } from '#control/store/migrate.ts'
import { root } from '#tests/support/parts.ts'

const quiet = () => undefined
const log = { info: quiet, warn: quiet, error: quiet }

const dayMs = 24 * 60 * 60_000

let found: Promise<string> | undefined

/**
 * The directory of an empty embedded database at this build's schema; beside it, with `.tar`, its archive.
 *
 * Making an embedded database costs some four seconds of processor time on a busy machine, beginning with a copy of one
 * a tenth of that. So one is made for each version of engine and schema and kept beside the packages. That a database is
 * made well is for the suites of the store, which make theirs.
 */
export function databaseTemplate(): Promise<string> {
  found ??= findTemplate()
  return found
}

/** Puts the template where a centre with data directory `data` finds its database at its first start. */
export async function giveDatabase(data: string): Promise<void> {
  mkdirSync(data, { recursive: true, mode: 0o700 })
  cpSync(await databaseTemplate(), join(data, 'database'), { recursive: true })
}

async function findTemplate(): Promise<string> {
  const cache = join(root, 'node_modules/.cache/isthmus-tests')
  const home = join(cache, `template-${keyOf()}`)
  if (!existsSync(home)) {
    mkdirSync(cache, { recursive: true })
    removeOld(cache)
    const fresh = mkdtempSync(join(cache, 'new-'))
    await makeTemplate(fresh)
    try {
      renameSync(fresh, home)
    } catch (error) {
      // Another test file was faster.
      rmSync(fresh, { recursive: true, force: true })
      if (!existsSync(home)) throw error
    }
  }
  return join(home, 'database')
}

/** Those of other schemas, and what a run that was cut short has left. */
function removeOld(cache: string): void {
  for (const name of readdirSync(cache))
    if (Date.now() - statSync(join(cache, name)).mtimeMs > dayMs)
      rmSync(join(cache, name), { recursive: true, force: true })
}

function keyOf(): string {
  const hash = createHash('sha256').update(readFileSync(join(root, 'node_modules/@electric-sql/pglite/package.json')))
  hash.update(readFileSync(join(root, 'control/store/pglite-worker.ts'))).update(JSON.stringify(readMigrations()))
  return hash.digest('hex').slice(0, 16)
}

async function makeTemplate(home: string): Promise<void> {
  await (await openDatabase({ dir: home, log })).close()
  const directory = join(home, 'database')
  const database = await PGlite.create(directory)
  writeFileSync(`${directory}.tar`, new Uint8Array(await (await database.dumpDataDir('none')).arrayBuffer()))
  await database.close()
}
