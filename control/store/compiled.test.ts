import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  appendCompiled,
  type CompiledRow,
  loadCompiled,
  loadCompiledHistory,
  loadLastCompiled,
  pruneCompiled,
} from '#control/store/compiled.ts'
import type { Database } from '#control/store/database.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

const mesh = parseMeshName('mesh1')
let db: Database
let cluster = ''
let made = 0
beforeAll(async () => {
  db = await openTestDatabase()
})
afterAll(() => db.close())
beforeEach(() => {
  cluster = `cluster-${made++}`
})

/** Revision n holds what its body says on top of revision n - 1; a body with `self` is whole. */
async function keep(...bodies: readonly string[]): Promise<void> {
  for (const [at, body] of bodies.entries()) {
    const base = body.includes('self') ? null : at
    const row: CompiledRow = {
      mesh,
      cluster,
      revision: at + 1,
      hash: `${at}`,
      cause: '',
      author: '',
      at,
      body,
      base,
      policies: 0,
      ackedAt: null,
    }
    await db.transact((tx) => appendCompiled(tx, row))
  }
}
const at = async (revision: number) => (await db.read((tx) => loadCompiled(tx, mesh, cluster, revision)))?.body
const left = async () =>
  (await db.read((tx) => loadCompiledHistory(tx, mesh, cluster, { before: undefined, limit: 50 }))).map(
    (row) => row.revision,
  )

test('a body of differences is given whole: entries that came, changed and went', async () => {
  await keep('{"import/a":{"n":1},"self":{}}', '{"import/a":{"n":2},"import/b":{}}', '{"import/a":null}')
  expect([await at(1), await at(2), await at(3)]).toEqual([
    '{"import/a":{"n":1},"self":{}}',
    '{"import/a":{"n":2},"import/b":{},"self":{}}',
    '{"import/b":{},"self":{}}',
  ])
  expect((await db.read((tx) => loadLastCompiled(tx, mesh, cluster)))?.body).toBe('{"import/b":{},"self":{}}')
})

test('what one that stays stands on is not forgotten', async () => {
  await keep('{"self":{}}', '{"a":1}', '{"self":{"n":1}}', '{"a":2}', '{"a":3}')
  await db.transact((tx) => pruneCompiled(tx, mesh, cluster, { before: 0, max: 2 }))
  expect(await left()).toEqual([5, 4, 3])
  expect(await at(4)).toBe('{"a":2,"self":{"n":1}}')
  await db.transact((tx) => pruneCompiled(tx, mesh, cluster, { before: 100, max: 100 }))
  expect([await left(), await at(5)]).toEqual([[5, 4, 3], '{"a":3,"self":{"n":1}}'])
})

test('a config whose base is gone is a fault of ours that is told, and not an empty config', async () => {
  await keep('{"a":1}')
  await expect(at(1)).rejects.toThrow('cannot be put together')
})
