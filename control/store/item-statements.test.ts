import { and, eq } from 'drizzle-orm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database, Tx } from '#control/store/database.ts'
import { selectItems, upsertItems } from '#control/store/item-statements.ts'
import { type ItemRow, items } from '#control/store/schema/stream.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

let db: Database
beforeAll(async () => {
  db = await openTestDatabase()
})
afterAll(() => db.close())

const mesh = 'mesh1'

const rowsOf = (stream: string, count: number, rev: number): ItemRow[] =>
  Array.from({ length: count }, (_, n) => ({
    ...{ mesh, stream, key: `k${String(n).padStart(3, '0')}`, rev, gone: n % 2 === 1, hash: `h${n}-${rev}` },
    ...{ body: n % 2 === 1 ? '' : `{"n":${n}}`, srcEpoch: `e${n}`, updatedAt: 1_700_000_000_000 + n },
  }))

/** By the query builder alone. */
const builtRows = (tx: Tx, stream: string) =>
  tx
    .select()
    .from(items)
    .where(and(eq(items.mesh, mesh), eq(items.stream, stream)))
    .orderBy(items.key)

test.each([1, 2, 64, 65, 500])('%i rows are written and read as the query builder would', async (count) => {
  const stream = `rep/c${count}`
  for (const rev of [1, 2]) {
    const rows = rowsOf(stream, count, rev)
    await db.transact((tx) => upsertItems(tx, rows))
    const keys = rows.map((row) => row.key)
    const seen = await db.read((tx) => selectItems(tx, { mesh, stream }, [...keys, 'none'].slice(0, 500)))
    expect(seen.toSorted((a, b) => a.key.localeCompare(b.key))).toEqual(rows)
    expect(await db.read((tx) => builtRows(tx, stream))).toEqual(rows)
  }
})

test('what they write in a transaction that fails is not there', async () => {
  const stream = 'rep/failed'
  const failing = db.transact(async (tx) => {
    await upsertItems(tx, rowsOf(stream, 2, 1))
    throw new Error('on purpose')
  })
  await expect(failing).rejects.toThrow('on purpose')
  expect(await db.read((tx) => builtRows(tx, stream))).toEqual([])
})
