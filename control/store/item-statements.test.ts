import { and, eq } from 'drizzle-orm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database, Tx } from '#control/store/database.ts'
import { selectHashes, selectItems, upsertItems } from '#control/store/item-statements.ts'
import { type ItemRow, items } from '#control/store/schema/stream.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

let db: Database
beforeAll(async () => {
  db = await openTestDatabase()
})
afterAll(() => db.close())

const mesh = 'mesh1'

const sharedOf = (stream: string, rev: number, gone = false) => ({
  ...{ mesh, stream, rev, gone, srcEpoch: `e${rev}`, updatedAt: 1_700_000_000_000 + rev },
})
const ownOf = (count: number, rev: number, gone = false) =>
  Array.from({ length: count }, (_, n) => ({
    ...{ key: `k${String(n).padStart(3, '0')}`, hash: gone ? '' : `h${n}-${rev}`, body: gone ? '' : `{"n":${n}}` },
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
  for (const [rev, gone] of [
    [1, false],
    [2, false],
    [3, true],
  ] as const) {
    const [shared, own] = [sharedOf(stream, rev, gone), ownOf(count, rev, gone)]
    await db.transact((tx) => upsertItems(tx, shared, own))
    const rows = own.map((row): ItemRow => ({ ...shared, ...row }))
    const keys = [...own.map(({ key }) => key), 'none'].slice(0, 500)
    const sorted = <T extends { key: string }>(list: T[]) => list.toSorted((a, b) => a.key.localeCompare(b.key))
    expect(sorted(await db.read((tx) => selectItems(tx, { mesh, stream }, keys)))).toEqual(rows)
    expect(sorted(await db.read((tx) => selectHashes(tx, { mesh, stream }, keys)))).toEqual(
      rows.map(({ key, hash }) => ({ key, hash, gone })),
    )
    expect(await db.read((tx) => builtRows(tx, stream))).toEqual(rows)
  }
})

test('what they write in a transaction that fails is not there', async () => {
  const stream = 'rep/failed'
  const failing = db.transact(async (tx) => {
    await upsertItems(tx, sharedOf(stream, 1), ownOf(2, 1))
    throw new Error('on purpose')
  })
  await expect(failing).rejects.toThrow('on purpose')
  expect(await db.read((tx) => builtRows(tx, stream))).toEqual([])
})
