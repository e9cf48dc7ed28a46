import { and, eq, getTableColumns, getTableName, type SQL } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import type { Log, Tx } from '#control/store/database.ts'
import { type DurableChange, type DurableName, durableTables, keyOf, type Row } from '#control/store/durable.ts'
import type { Engine, Run } from '#control/store/engine.ts'
import {
  type JournalContent,
  type JournalFile,
  type JournalRecord,
  openJournalFile,
  readJournal,
  replaceJournal,
} from '#control/store/journal-file.ts'
import { restoreReports } from '#control/store/reported-facts.ts'
import { txOn } from '#control/store/run-of.ts'
import { storeFacts } from '#control/store/schema/store-fact.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * The journal of the embedded database.
 *
 * PGlite runs without fsync: killing its process loses nothing, a power cut may lose or spoil any of it. What the
 * clusters can tell again (streams and their items, save the facts in `reported_facts`) and what lives for minutes may be
 * lost then; the rows of `durableTables` may not. The guarantee, exactly: before `transact` resolves, what the transaction changed in those
 * tables has been committed, written to this file and fsynced. So after any crash of process or machine, with the
 * directory of PGlite intact, behind or gone, `openDatabase` on the same journal has those rows as of the last
 * acknowledged transaction. One that was not acknowledged is there wholly or not at all while the directory is intact;
 * where it is gone, perhaps with its durable rows only. The history of compiled configs is not covered.
 *
 * Which of the two is behind is told by the number of the last durable transaction, kept in the last record and, within
 * the same transaction, in the table `store_facts`. The journal is written after the commit, not before it: after a kill
 * between the two the database is ahead and is right as a whole, whereas a journal ahead would bring back only the part
 * of a transaction that it covers, without its streams and its outbox.
 */
export type Journal = {
  /**
   * The last step before a commit: notes the transaction's number in the database. Throws `unavailable` while the disk
   * takes nothing, so that what cannot be kept is refused.
   */
  prepare(tx: Tx): Promise<void>
  /** The first step after it: puts the changes on disk. Throws `unavailable` when the disk filled up just now. */
  record(run: Run, changes: readonly DurableChange[]): Promise<void>
  /** Puts on disk what is owed to it, and sees whether it takes more. Throws `unavailable`. In nobody's transaction. */
  probe(): Promise<void>
  close(): Promise<void>
}

const factName = 'journal'
const rowsPerRecord = 500
const compactBytesMin = 4 * 1024 * 1024

/**
 * Opens the journal beside a migrated database and makes the two agree: a database that is behind is brought forward, one
 * that is ahead has its journal written anew. Throws `conflict` for a damaged journal or one of a newer schema.
 */
export async function openJournal(
  file: string,
  engine: Engine,
  { tags, log }: { readonly tags: readonly string[]; readonly log: Log },
): Promise<Journal> {
  const schema = tags.at(-1) ?? ''
  const reader: Tx = txOn(engine.run)
  const content = readJournal(file)
  if (content?.torn)
    log.warn({ file, offset: content.end, bytes: content.torn }, 'journal: a torn last record was cut off')
  const last = checkOrder(file, content, tags)
  const applied = await loadApplied(reader)
  let n = Math.max(last, applied)
  if (content && applied < last) {
    log.warn({ database: applied, journal: last }, 'journal: the database is behind and is brought forward')
    await engine.transaction((run) => replay(txOn(run), content.records, applied))
  }
  const stale = !content || last < applied || content.records[0]?.schema !== schema
  if (stale && content && last < applied) log.warn({ file }, 'journal: behind its database and written anew')
  let base = stale ? replaceJournal(file, await snapshot(reader, n, schema)) : (content?.end ?? 0)
  let opened: JournalFile = await openJournalFile(file, base)
  // Committed, and not on disk yet because the disk was full.
  let owed: JournalRecord | undefined
  return {
    prepare: async (tx) => {
      await settle()
      await saveApplied(tx, n + 1)
    },
    record: async (run, changes) => {
      n++
      if (opened.bytes >= Math.max(compactBytesMin, 4 * base) && (await compact(txOn(run)))) return
      owed = { n, changes }
      await settle()
    },
    probe: async () => {
      await settle()
      await opened.probe()
    },
    close: () => opened.close(),
  }

  async function settle(): Promise<void> {
    if (!owed) return
    await opened.append(owed)
    owed = undefined
  }

  /** The file anew, as of now. False where there was no room for that. */
  async function compact(tx: Tx): Promise<boolean> {
    const records = await snapshot(tx, n, schema)
    try {
      base = replaceJournal(file, records)
    } catch (error) {
      log.warn({ file, error }, 'journal: it could not be compacted, and grows on')
      return false
    }
    await opened.close()
    opened = await openJournalFile(file, base)
    return true
  }
}

/** True where a lost database comes back from this journal. Throws as `openJournal` does, before anything is touched. */
export function bringsBack(file: string, tags: readonly string[]): boolean {
  const content = readJournal(file)
  checkOrder(file, content, tags)
  return content !== undefined && content.records.length > 0
}

/** The number of the last record; throws where records are missing between, or a newer build wrote the file. */
function checkOrder(file: string, content: JournalContent | undefined, tags: readonly string[]): number {
  let last: number | undefined
  for (const { n, base, schema } of content?.records ?? []) {
    if (schema !== undefined && !tags.includes(schema))
      throw new Problem(
        'conflict',
        `the journal ${file} has schema ${schema}, and this isthmus knows up to ${tags.at(-1) ?? 'none'}: start the newer isthmus`,
      )
    if (last !== undefined && n !== (base ? last : last + 1))
      throw new Problem(
        'conflict',
        `the journal ${file} lacks records between ${last} and ${n}: restore it from a backup`,
      )
    last = n
  }
  return last ?? 0
}

async function replay(tx: Tx, records: readonly JournalRecord[], applied: number): Promise<void> {
  const first = records[0]?.n ?? 0
  const fromBase = applied < first
  if (fromBase) for (const table of Object.values(durableTables)) await tx.delete(table)
  for (const record of records)
    if (record.base ? fromBase : record.n > applied) for (const change of record.changes) await apply(tx, change)
  await saveApplied(tx, records.at(-1)?.n ?? 0)
  await restoreReports(tx, Date.now())
}

async function apply(tx: Tx, { table, put, drop }: DurableChange): Promise<void> {
  const target: PgTable = durableTables[table]
  const columns = getTableColumns(target)
  const key = keyOf(durableTables[table])
  const where = (row: Row): SQL | undefined => and(...key.map((k) => eq(columnOf(columns, k), row[k])))
  if (drop) await tx.delete(target).where(where(drop))
  if (!put) return
  await tx.delete(target).where(where(put))
  await tx.insert(target).values(put)
}

function columnOf(columns: Readonly<Record<string, PgColumn>>, property: string): PgColumn {
  const column = columns[property]
  if (!column) throw new Problem('internal', `the journal names a column ${property} that does not exist`)
  return column
}

/** All durable rows as base records. The first is there even when there are no rows: it holds number and schema. */
async function snapshot(tx: Tx, n: number, schema: string): Promise<JournalRecord[]> {
  const changes: DurableChange[] = []
  for (const table of Object.values(durableTables)) {
    const name = getTableName(table) as DurableName
    for (const put of await tx.select().from(table as PgTable)) changes.push({ table: name, put: put as Row })
  }
  const records: JournalRecord[] = [{ n, base: true, schema, changes: changes.slice(0, rowsPerRecord) }]
  for (let at = rowsPerRecord; at < changes.length; at += rowsPerRecord)
    records.push({ n, base: true, changes: changes.slice(at, at + rowsPerRecord) })
  return records
}

async function loadApplied(tx: Tx): Promise<number> {
  const [row] = await tx.select().from(storeFacts).where(eq(storeFacts.name, factName))
  return Number(row?.value ?? 0)
}

async function saveApplied(tx: Tx, n: number): Promise<void> {
  await tx
    .insert(storeFacts)
    .values({ name: factName, value: String(n) })
    .onConflictDoUpdate({ target: storeFacts.name, set: { value: String(n) } })
}
