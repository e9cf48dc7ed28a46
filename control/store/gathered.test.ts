import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database, Tx } from '#control/store/database.ts'
import { gathered } from '#control/store/gathered.ts'
import { storeFacts } from '#control/store/schema/store-fact.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

let db: Database
let commits = 0
beforeAll(async () => {
  const onStatement = (text: string) => void (text === 'commit' && commits++)
  db = await openTestDatabase({ onStatement })
})
afterAll(() => db.close())

const put = (name: string) => (tx: Tx) =>
  tx
    .insert(storeFacts)
    .values({ name, value: 'x' })
    .then(() => name)
const stored = async (prefix: string) =>
  (await db.read((tx) => tx.select().from(storeFacts)))
    .map(({ name }) => name)
    .filter((name) => name.startsWith(prefix))
    .toSorted()

test('who asks while another is stored is stored with all who do', async () => {
  const share = gathered(db)
  const before = commits
  const names = Array.from({ length: 20 }, (_, n) => `a${String(n).padStart(2, '0')}`)
  expect(await Promise.all(names.map((name) => share({ key: name, rows: 1 }, put(name))))).toEqual(names)
  expect(await stored('a')).toEqual(names)
  expect(commits - before).toBe(2)
})

test('the fault of one is told to that one alone, whether its own or the server’s', async () => {
  const share = gathered(db)
  const spoil = async (tx: Tx) => {
    await put('b-spoilt')(tx)
    throw new Error('refused')
  }
  const asked = [
    share({ key: 'first', rows: 1 }, put('b0')),
    share({ key: 'b1', rows: 1 }, put('b1')),
    share({ key: 'b2', rows: 1 }, spoil),
    share({ key: 'b3', rows: 1 }, put('b0')),
    share({ key: 'b4', rows: 1 }, put('b4')),
  ]
  const said = (await Promise.allSettled(asked)).map(({ status }) => status)
  expect(said).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected', 'fulfilled'])
  await expect(asked[2]).rejects.toThrow('refused')
  expect(await stored('b')).toEqual(['b0', 'b1', 'b4'])
})

test('two of one key follow each other, and many rows go by themselves', async () => {
  const share = gathered(db)
  const before = commits
  let open = 0
  const alone = (name: string) => async (tx: Tx) => {
    expect(open++).toBe(0)
    await put(name)(tx)
    open--
  }
  await Promise.all([
    share({ key: 'same', rows: 1 }, alone('c0')),
    share({ key: 'same', rows: 1 }, alone('c1')),
    share({ key: 'same', rows: 1 }, alone('c2')),
  ])
  expect(commits - before).toBe(3)
  await Promise.all(
    ['d0', 'd1', 'd2', 'd3'].map((name) => share({ key: name, rows: name === 'd1' ? 500 : 100 }, put(name))),
  )
  expect(commits - before).toBe(3 + 3)
  expect(await stored('d')).toHaveLength(4)
})
