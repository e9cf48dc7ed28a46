import { AsyncLocalStorage } from 'node:async_hooks'
import { existsSync, renameSync, statfsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { count, DrizzleQueryError } from 'drizzle-orm'
import type { PgRemoteDatabase } from 'drizzle-orm/pg-proxy'
import { awakeTimeout } from '#control/store/awake-timeout.ts'
import { checkLedger, type DurableChange, keepLedger, noteStatement } from '#control/store/durable.ts'
import { type Engine, type Run, sqlStateOf } from '#control/store/engine.ts'
import { bringsBack, type Journal, openJournal } from '#control/store/journal.ts'
import { lockDirectory } from '#control/store/lock.ts'
import { makeDirectory } from '#control/store/make-directory.ts'
import { type Migration, migrate, readMigrations } from '#control/store/migrate.ts'
import { openPglite } from '#control/store/pglite.ts'
import { openPostgres } from '#control/store/postgres.ts'
import { txOn } from '#control/store/run-of.ts'
import { clusters } from '#control/store/schema/cluster.ts'
import { storeFacts } from '#control/store/schema/store-fact.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Drizzle's query builder, the same on every engine. Transactions are flat, so it has none of its own. */
export type Tx = Omit<PgRemoteDatabase, 'transaction'>

export type Database = {
  readonly kind: 'embedded' | 'postgres'
  /**
   * Runs `work` in one flat transaction and commits. After a serialisation failure or a deadlock (40001, 40P01) it runs
   * again, up to five times: `work` may run twice, so it does nothing but read and write by its `tx`. Correct code holds
   * under READ COMMITTED and under snapshot isolation: each statement may see a newer state than the one before.
   * Throws what `work` throws (nothing is stored then); `unavailable` when the database is away, busy, or the
   * transaction took longer than ten seconds. On `unavailable` it may have been stored: writes are idempotent.
   */
  transact<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Reads without a transaction: each statement is a snapshot of its own. Not inside `transact`, nor the other way. */
  read<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /**
   * Comes back when the store took a write just now, and with it whatever it still owed its disk. Throws `unavailable`
   * where it does not answer, or answers and keeps nothing (a full disk, a read-only server).
   */
  probe(): Promise<void>
  close(): Promise<void>
}

export type Log = {
  info(fields: object, text: string): void
  warn(fields: object, text: string): void
  error(fields: object, text: string): void
}

export type DatabaseSettings = {
  /** `postgres://…`: a server. */
  readonly url?: string | undefined
  /** The directory of the embedded database. With neither, it lives in memory and dies with the process. */
  readonly dir?: string | undefined
  readonly log: Log
  /**
   * For tests: the migrations to bring the database to; what a new embedded database begins as (see `openPglite`; making
   * one takes a second); a look at every statement (`commit` too), which may throw.
   */
  readonly migrations?: readonly Migration[]
  readonly template?: string | undefined
  readonly onStatement?: (text: string) => void
}

const triesMax = 5
const transactionMsMax = 10_000
/** Beyond this PGlite's single connection is the wrong engine. */
export const embeddedClustersMax = 200

/**
 * Opens the database and brings it to this build's schema. On a directory it also brings back from the journal what the
 * embedded engine has lost. Throws `conflict` for a directory that a live centre holds, a newer schema, a damaged journal,
 * or more clusters than the embedded engine takes.
 */
export async function openDatabase(settings: DatabaseSettings): Promise<Database> {
  const migrations = settings.migrations ?? readMigrations()
  const tags = migrations.map((migration) => migration.tag)
  const { engine, release } = await openEngine(settings, tags)
  try {
    await migrate(engine.run, migrations)
    const file = settings.url === undefined && settings.dir !== undefined ? join(settings.dir, 'journal') : undefined
    const journal = file === undefined ? undefined : await openJournal(file, engine, { tags, log: settings.log })
    const database = databaseOn(engine, settings, { journal, release })
    if (engine.kind === 'embedded') await database.read(refuseTooMany)
    return database
  } catch (error) {
    await engine.close().catch(() => undefined)
    release()
    throw asProblem(error)
  }
}

async function openEngine(
  { url, dir, log, template }: DatabaseSettings,
  tags: readonly string[],
): Promise<{ engine: Engine; release: () => void }> {
  if (url !== undefined) return { engine: openPostgres(url), release: () => undefined }
  if (dir === undefined) return { engine: await openPglite(undefined, template), release: () => undefined }
  makeDirectory(dir)
  const lock = lockDirectory(dir)
  const files = join(dir, 'database')
  try {
    // The journal first: one that brings nothing back leaves the database where it is, the best there is.
    if (lock.machineDied && bringsBack(join(dir, 'journal'), tags) && existsSync(files)) setAside(files, log)
    lock.settled()
    return { engine: await openEmbedded(files, template), release: lock.release }
  } catch (error) {
    lock.release()
    throw error
  }
}

/** A new database, with its first write-ahead logs. */
const megabytesMin = 50

function megabytesLeft(files: string): number {
  try {
    const { bavail, bsize } = statfsSync(dirname(files))
    return Math.floor((bavail * bsize) / 1024 ** 2)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

async function openEmbedded(files: string, template: string | undefined): Promise<Engine> {
  try {
    return await openPglite(files, template)
  } catch (cause) {
    const megabytes = megabytesLeft(files)
    if (megabytes < megabytesMin)
      throw new Problem(
        'unavailable',
        `the embedded database in ${files} does not open, and its disk has ${megabytes} MB left: make room, it needs ${megabytesMin}`,
        { cause },
      )
    throw new Problem(
      'unavailable',
      `the embedded database in ${files} does not open: move that directory away, and it is made anew from the journal`,
      { cause },
    )
  }
}

/**
 * Written without fsync and then the machine went down: it may open and be wrong. The journal is what can be trusted.
 * Kept nevertheless, as is every one before it.
 */
function setAside(files: string, log: Log): void {
  let kept = `${files}.distrusted`
  for (let n = 2; existsSync(kept); n++) kept = `${files}.distrusted-${n}`
  renameSync(files, kept)
  log.warn(
    { dir: files, kept },
    `the machine went down while the centre ran: its database is made anew from the journal; the one before is kept in ${kept}`,
  )
}

type Parts = { readonly journal: Journal | undefined; readonly release: () => void }

function databaseOn(engine: Engine, settings: DatabaseSettings, { journal, release }: Parts): Database {
  const watched = (run: Run): Run => {
    const { onStatement } = settings
    if (!onStatement) return run
    return async (text, params, method) => {
      onStatement(text)
      return run(text, params, method)
    }
  }
  // A transaction inside another would wait for itself on the one connection of the embedded engine. What was only
  // started in one (a timer) and runs after its end is free.
  const inside = new AsyncLocalStorage<{ open: boolean }>()
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    if (inside.getStore()?.open) throw new Problem('internal', 'a transaction or read was started inside another')
    const here = { open: true }
    return inside.run(here, work).finally(() => {
      here.open = false
    })
  }
  const once = <T>(work: (tx: Tx) => Promise<T>, then?: () => Promise<void> | undefined): Promise<T> =>
    withDeadline((live) => {
      let changes: readonly DurableChange[] = []
      return engine.transaction(
        async (run) => {
          const seen = watched(run)
          const bounded: Run = (text, params, method) => {
            live()
            noteStatement(ledger, text)
            return seen(text, params, method)
          }
          const tx = txOn(bounded)
          const ledger = keepLedger(tx)
          const result = await work(tx)
          checkLedger(ledger)
          changes = ledger.changes
          if (engine.kind === 'embedded' && ledger.written.has('clusters')) await refuseTooMany(tx)
          settings.onStatement?.('commit')
          live()
          if (changes.length > 0) await journal?.prepare(tx)
          return result
        },
        async (run) => {
          if (changes.length > 0) await journal?.record(run, changes)
          await then?.()
        },
      )
    })
  const reader = txOn(watched(engine.run))
  return {
    kind: engine.kind,
    transact: async (work) => alone(() => retried(() => once(work))),
    read: async (work) => alone(() => retried(() => work(reader))),
    probe: async () => alone(() => retried(() => once(touch, () => journal?.probe()))),
    close: async () => {
      await engine.close()
      await journal?.close()
      release()
    },
  }
}

/** Runs `work` with a check that throws once the time is over; the caller is free then, though the engine may still end it. */
async function withDeadline<T>(work: (live: () => void) => Promise<T>): Promise<T> {
  let over: Problem | undefined
  let cancel = (): void => undefined
  const deadline = new Promise<never>((_, reject) => {
    cancel = awakeTimeout(transactionMsMax, () => {
      over = new Problem('unavailable', `the database did not finish within ${transactionMsMax / 1000} s`)
      reject(over)
    })
  })
  const live = () => {
    if (over) throw over
  }
  try {
    return await Promise.race([work(live), deadline])
  } finally {
    cancel()
  }
}

/** Thrown by a writer that lost a race which no lock decided; the transaction runs again. */
export class LostRace extends Error {
  readonly code = '40001'
}

const transient = new Set(['40001', '40P01'])

async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await work()
    } catch (error) {
      if (!transient.has(sqlStateOf(error) ?? '')) throw asProblem(error)
      if (tries === triesMax)
        throw new Problem('unavailable', 'too many writers at the same rows: try again in a moment', { cause: error })
      await pause(Math.random() * 10 * 2 ** tries)
    }
}

/** The least that has to be written. */
async function touch(tx: Tx): Promise<void> {
  const target = storeFacts.name
  await tx
    .insert(storeFacts)
    .values({ name: 'probe', value: '' })
    .onConflictDoUpdate({ target, set: { value: '' } })
}

/**
 * A connection that broke (08), a server that ends or starts (57P0), no room on disk or for connections (53), one that only
 * reads (25006).
 */
const away = /^(08|53|57P0|25006)/

function asProblem(error: unknown): unknown {
  if (error instanceof Problem) return error
  if (error instanceof Error && error.cause instanceof Problem) return error.cause
  if (away.test(sqlStateOf(error) ?? ''))
    return new Problem('unavailable', 'the database takes no requests now', { cause: error })
  // Drizzle's wrapper quotes the statement with its parameters; the driver's own error is enough and quotes no secret.
  return error instanceof DrizzleQueryError ? (error.cause ?? error) : error
}

/** True for the error of an insert or update that met a row with the same unique key. */
export const isDuplicate = (error: unknown): boolean => sqlStateOf(error) === '23505'

async function refuseTooMany(tx: Tx): Promise<void> {
  const [row] = await tx.select({ n: count() }).from(clusters)
  if ((row?.n ?? 0) > embeddedClustersMax)
    throw new Problem(
      'conflict',
      `the embedded database serves up to ${embeddedClustersMax} clusters: give the centre a PostgreSQL server by DATABASE_URL`,
    )
}
