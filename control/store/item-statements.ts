import { and, eq, getTableColumns, inArray, sql } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { rowParser } from '#control/store/fixed-statement.ts'
import { runOf } from '#control/store/run-of.ts'
import { type ItemRow, items } from '#control/store/schema/stream.ts'
import type { StreamRef } from '#control/store/streams.ts'

// The two statements on items that every report runs, with their text built once for each number of rows: with fifty
// items in a report, building it anew was a fifth of all that the centre computed (2026-11).

const columns = Object.keys(getTableColumns(items)) as (keyof ItemRow)[]
/** Beyond it building is a small part of the work, and the texts would be large ones. */
const rowsMaxKept = 64

type Texts = Map<number, string>
const selects: Texts = new Map()
const upserts: Texts = new Map()

function textFor(texts: Texts, rows: number, build: () => { readonly sql: string }): string {
  const text = texts.get(rows) ?? build().sql
  if (rows <= rowsMaxKept) texts.set(rows, text)
  return text
}

/** The rows, also of what is gone, of these keys: at most as many as one statement takes. */
export async function selectItems(tx: Tx, ref: StreamRef, keys: readonly string[]): Promise<ItemRow[]> {
  const query = () =>
    tx
      .select()
      .from(items)
      .where(and(eq(items.mesh, ref.mesh), eq(items.stream, ref.stream), inArray(items.key, [...keys])))
  const text = textFor(selects, keys.length, () => query().toSQL())
  const { rows } = await runOf(tx)(text, [ref.mesh, ref.stream, ...keys], 'all')
  return (rows as unknown[][]).map(parseRow)
}

const parseRow = rowParser(items)

/** Writes these rows over what is stored under their keys: at most as many as one statement takes. */
export async function upsertItems(tx: Tx, rows: readonly ItemRow[]): Promise<void> {
  const query = () =>
    tx
      .insert(items)
      .values([...rows])
      .onConflictDoUpdate({
        target: [items.mesh, items.stream, items.key],
        set: {
          rev: sql`excluded.rev`,
          gone: sql`excluded.gone`,
          hash: sql`excluded.hash`,
          body: sql`excluded.body`,
          srcEpoch: sql`excluded.src_epoch`,
          updatedAt: sql`excluded.updated_at`,
        },
      })
  const text = textFor(upserts, rows.length, () => query().toSQL())
  await runOf(tx)(
    text,
    rows.flatMap((row) => columns.map((name) => row[name])),
    'execute',
  )
}
