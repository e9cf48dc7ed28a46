import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { holdLease, takeLease } from '#control/store/leases.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

let db: Database
beforeAll(async () => {
  db = await openTestDatabase()
})
afterAll(() => db.close())

let count = 0
const lease = () => ({ mesh: 'mesh1', name: `job-${++count}` })
type Name = ReturnType<typeof lease>
const take = (name: Name, holder: string, now: number) =>
  db.transact((tx) => takeLease(tx, name, { holder, now, until: now + 100 }))
const hold = (name: Name, holder: string) => db.transact((tx) => holdLease(tx, name, holder, 1000))

test('one holds it, and may take it again; the others wait until it ends', async () => {
  const name = lease()
  expect(await take(name, 'a', 0)).toEqual({ fresh: true })
  expect(await take(name, 'b', 50)).toBeUndefined()
  expect(await take(name, 'a', 60)).toEqual({ fresh: false })
  expect(await take(name, 'b', 159)).toBeUndefined()
  expect(await take(name, 'b', 160)).toEqual({ fresh: true })
})

test('whoever lost it learns so in the transaction of its work', async () => {
  const name = lease()
  await take(name, 'a', 0)
  expect(await hold(name, 'a')).toBe(true)
  await take(name, 'b', 2000)
  expect([await hold(name, 'a'), await hold(name, 'b')]).toEqual([false, true])
})

test('many that ask at once: one gets it', async () => {
  const name = lease()
  const all = await Promise.all(['a', 'b', 'c', 'd'].map((holder) => take(name, holder, 0)))
  expect(all.filter((taken) => taken !== undefined)).toHaveLength(1)
})
