import { expect, test } from 'vitest'
import type { Run } from '#control/store/engine.ts'
import { type Migration, migrate, readMigrations } from '#control/store/migrate.ts'
import { subsetFault } from '#tests/support/sql-subset.ts'

/** A database that knows only what a migration runner asks of it, and can fail at the k-th statement. */
function fake(failAt = Number.POSITIVE_INFINITY) {
  const ran: string[] = []
  const noted: { tag: string; step: number; hash: string }[] = []
  let count = 0
  const run: Run = async (text, params) => {
    if (++count === failAt) throw new Error('the process died here')
    if (text.startsWith('select')) return { rows: [...noted] }
    if (text.startsWith('insert into schema_migrations')) {
      const [tag, step, hash] = params as [string, number, string]
      noted.push({ tag, step, hash })
    } else if (!text.includes('schema_migrations')) {
      if (ran.includes(text)) throw Object.assign(new Error('relation already exists'), { code: '42P07' })
      ran.push(text)
    }
    return { rows: [] }
  }
  return {
    run,
    ran,
    noted,
    revive: () => {
      failAt = Number.POSITIVE_INFINITY
    },
  }
}

const two: readonly Migration[] = [
  { tag: '0000_a', steps: ['create table a (x text)', 'create table b (x text)'] },
  { tag: '0001_b', steps: ['create table c (x text)'] },
]

test('each statement runs once, in order', async () => {
  const db = fake()
  expect(await migrate(db.run, two)).toEqual(['0000_a#0', '0000_a#1', '0001_b#0'])
  expect(await migrate(db.run, two)).toEqual([])
  expect(db.ran).toHaveLength(3)
})

test('a start that was cut short at any statement goes on where it stopped', async () => {
  for (let failAt = 1; failAt <= 8; failAt++) {
    const db = fake(failAt)
    await migrate(db.run, two).catch(() => undefined)
    db.revive()
    await migrate(db.run, two)
    expect(db.ran).toEqual(two.flatMap((m) => m.steps))
  }
})

test('a file that was edited after it ran is refused by name', async () => {
  const db = fake()
  await migrate(db.run, two)
  const edited = [{ tag: '0000_a', steps: ['create table a (y text)', 'create table b (x text)'] }, ...two.slice(1)]
  await expect(migrate(db.run, edited)).rejects.toThrow('migration 0000_a was edited after step 0')
})

test('a database of a newer build is refused and both versions are named', async () => {
  const db = fake()
  await migrate(db.run, two)
  await expect(migrate(db.run, two.slice(0, 1))).rejects.toThrow(/schema 0001_b, and this isthmus knows up to 0000_a/)
})

test('every migration stays within the SQL that all engines share', () => {
  const steps = readMigrations().flatMap((migration) => migration.steps)
  expect(steps.length).toBeGreaterThan(20)
  expect(steps.map(subsetFault).filter((fault) => fault !== undefined)).toEqual([])
})

test.each([
  'CREATE TABLE "t" ("id" serial PRIMARY KEY)',
  'ALTER TABLE "t" ADD CONSTRAINT "f" FOREIGN KEY ("a") REFERENCES "b"("id")',
  'CREATE TABLE "t" ("body" jsonb NOT NULL)',
  'CREATE INDEX "i" ON "t" USING btree ("a") WHERE "a" is not null',
  'CREATE INDEX "i" ON "t" ("a" DESC)',
  'ALTER TABLE "t" ADD COLUMN "a" text NOT NULL',
  'CREATE TABLE "t" ("a" text[])',
  'select * from "t" for update',
  'savepoint s1',
  'select pg_advisory_lock(1)',
  'update "t" set "at" = now()',
])('outside of it: %s', (statement) => {
  expect(subsetFault(statement)).toBeDefined()
})
