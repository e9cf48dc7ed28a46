import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Engine, sqlStateOf } from '#control/store/engine.ts'
import { openPglite } from '#control/store/pglite.ts'
import { openPostgres } from '#control/store/postgres.ts'
import { databaseTemplate } from '#tests/support/database-template.ts'
import { type Postgres, startPostgres } from '#tests/support/parts.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

describe.each([
  ['embedded', async () => openPglite(undefined, await databaseTemplate())],
  ['postgres', async () => openPostgres(postgres.url)],
] as const)('statements sent together on %s', (_, open) => {
  let engine: Engine
  beforeAll(async () => {
    engine = await open()
    await engine.run('create table flights (n bigint primary key, said text, good boolean)', [], 'execute')
  })
  afterAll(() => engine.close())
  const insert = 'insert into flights values ($1, $2, $3)'
  const rowsFrom = (n: number) =>
    engine.run('select n, said, good from flights where n >= $1 order by n', [n], 'all').then(({ rows }) => rows)

  test('each is answered with its own rows, in order, named or not', async () => {
    for (let round = 0; round < 6; round++) {
      const answers = await engine.transaction(async (run) =>
        Promise.all([
          run('select $1::text', [`a${round}`], 'all'),
          run('select $1::text', [null], 'all'),
          run('select $1::boolean as yes, $2::text as text', [true, "it's"], 'execute'),
          run('select 1 where false', [], 'all'),
        ]),
      )
      expect(answers.map(({ rows }) => rows)).toEqual([[[`a${round}`]], [[null]], [{ yes: true, text: "it's" }], []])
    }
  })

  test('where one fails none of the transaction stands, and the first fault is the one that is told', async () => {
    for (let round = 0; round < 5; round++) {
      const failed = engine.transaction((run) =>
        Promise.all([
          run(insert, [100, 'first', true], 'execute'),
          run(insert, [100, 'again', true], 'execute'),
          run(insert, [101, 'after', null], 'execute'),
        ]),
      )
      await expect(failed.catch(sqlStateOf)).resolves.toBe('23505')
      expect(await rowsFrom(100)).toEqual([])
    }
  })

  test('a fault that the work does not look at is one all the same', async () => {
    const failed = engine.transaction(async (run) => {
      const fault = run('select 1 from nowhere', [], 'all').catch(() => undefined)
      await run(insert, [200, 'beside', true], 'execute').catch(() => undefined)
      await fault
    })
    await expect(failed.catch(sqlStateOf)).resolves.toBe('42P01')
    expect(await rowsFrom(200)).toEqual([])
  })

  test('a statement that could not be read at first is read when it can be', async () => {
    const later = () => engine.run('select n from later where n = $1', [1], 'all')
    for (let round = 0; round < 5; round++) await expect(later().catch(sqlStateOf)).resolves.toBe('42P01')
    await engine.run('create table later (n bigint)', [], 'execute')
    for (let round = 0; round < 5; round++) expect((await later()).rows).toEqual([])
  })
})

test('a server that forgets or mixes up named statements is asked without names from then on', async () => {
  const db = await openTestDatabase({ url: postgres.url })
  try {
    const ask = (n: number) => db.transact((tx) => tx.execute(sql`select ${n}::text as said`))
    for (let n = 0; n < 5; n++) await ask(n)
    // As behind a pooler: the connection is another one than that which was told the name.
    await db.read((tx) => tx.execute(sql.raw('deallocate all')))
    for (let n = 0; n < 5; n++) expect(await ask(n)).toMatchObject([{ said: String(n) }])
  } finally {
    await db.close()
  }
})
