import { and, eq, getTableColumns, inArray } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { rowParser } from '#control/store/fixed-statement.ts'
import { runOf } from '#control/store/run-of.ts'
import { type ItemRow, items } from '#control/store/schema/stream.ts'
import type { StreamRef } from '#control/store/streams.ts'

// The statements on items that every report runs, with their text built once for each number of rows: with fifty items in
// a report, building it anew was a fifth of all that the centre computed (2026-11).

/** Beyond it building is a small part of the work, and the texts would be large ones. */
const rowsMaxKept = 64

type Texts = Map<number, string>
const selects: Texts = new Map()
const hashSelects: Texts = new Map()
const upserts: Texts = new Map()

function textFor(texts: Texts, rows: number, build: () => string): string {
  const text = texts.get(rows) ?? build()
  if (rows <= rowsMaxKept) texts.set(rows, text)
  return text
}

/** The rows, also of what is gone, of these keys: at most as many as one statement takes. */
export async function selectItems(tx: Tx, ref: StreamRef, keys: readonly string[]): Promise<ItemRow[]> {
  const query = () => tx.select().from(items).where(isOneOf(ref, keys)).toSQL().sql
  const rows = await rowsOf(tx, textFor(selects, keys.length, query), ref, keys)
  return rows.map(parseRow)
}

/** What is told of an item without what it says. */
export type ItemHash = Pick<ItemRow, 'key' | 'hash' | 'gone'>

/** As `selectItems`, a third of its cost: bodies are most of it. */
export async function selectHashes(tx: Tx, ref: StreamRef, keys: readonly string[]): Promise<ItemHash[]> {
  const { key, hash, gone } = items
  const query = () => tx.select({ key, hash, gone }).from(items).where(isOneOf(ref, keys)).toSQL().sql
  const rows = await rowsOf(tx, textFor(hashSelects, keys.length, query), ref, keys)
  return rows.map(([k, h, g]) => ({ key: String(k), hash: String(h), gone: g === true }))
}

const isOneOf = (ref: StreamRef, keys: readonly string[]) =>
  and(eq(items.mesh, ref.mesh), eq(items.stream, ref.stream), inArray(items.key, [...keys]))

async function rowsOf(tx: Tx, text: string, ref: StreamRef, keys: readonly string[]): Promise<unknown[][]> {
  const { rows } = await runOf(tx)(text, [ref.mesh, ref.stream, ...keys], 'all')
  return rows as unknown[][]
}

const parseRow = rowParser(items)

/** What rows that are written together have in common, and what each has of its own. */
export type SharedValues = Omit<ItemRow, keyof OwnValues>
export type OwnValues = Pick<ItemRow, 'key' | 'hash' | 'body'>

const sharedColumns = [
  'mesh',
  'stream',
  'rev',
  'gone',
  'srcEpoch',
  'updatedAt',
] as const satisfies (keyof SharedValues)[]
const ownColumns = ['key', 'hash', 'body'] as const satisfies (keyof OwnValues)[]

/**
 * Writes these rows over what is stored under their keys: at most as many as one statement takes. What they share is given
 * once: a third of the parameters, and the embedded engine takes a fifth less.
 */
export async function upsertItems(tx: Tx, shared: SharedValues, rows: readonly OwnValues[]): Promise<void> {
  await runOf(tx)(
    textFor(upserts, rows.length, () => upsertText(rows.length)),
    [...sharedColumns.map((name) => shared[name]), ...rows.flatMap((row) => ownColumns.map((name) => row[name]))],
    'execute',
  )
}

/** The query builder has no way to name a parameter twice. */
function upsertText(rows: number): string {
  const columns = getTableColumns(items)
  const names = [...sharedColumns, ...ownColumns].map((name) => `"${columns[name].name}"`)
  const taken = names.filter((name) => !['"mesh"', '"stream"', '"key"'].includes(name))
  const common = sharedColumns.map((_, n) => `$${n + 1}`)
  const values = Array.from({ length: rows }, (_, row) => {
    const own = ownColumns.map((_, n) => `$${common.length + row * ownColumns.length + n + 1}`)
    return `(${[...common, ...own].join(', ')})`
  })
  return (
    `insert into "items" (${names.join(', ')}) values ${values.join(', ')} ` +
    `on conflict ("mesh", "stream", "key") do update set ${taken.map((name) => `${name} = excluded.${name}`).join(', ')}`
  )
}
