import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
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

  test('what the work has left running when a statement failed is not run in the transaction of another', async () => {
    let late: Promise<unknown> = Promise.resolve()
    const { promise: over, resolve: end } = Promise.withResolvers<void>()
    const failed = engine.transaction((run) => {
      late = over.then(() => run(insert, [300, 'late', true], 'execute')).catch((error: unknown) => error)
      return Promise.all([run('select 1 from nowhere', [], 'all'), late])
    })
    await expect(failed.catch(sqlStateOf)).resolves.toBe('42P01')
    await engine.transaction(async (run) => {
      await run(insert, [301, 'other', true], 'execute')
      end()
      await late
    })
    await expect(late).resolves.toMatchObject({ kind: 'internal' })
    expect((await rowsFrom(300)).map((row) => (row as unknown[])[1])).toEqual(['other'])
    await engine.run('delete from flights where n >= 300', [], 'execute')
  })

  test('a fault of a statement that nobody waits for is told, because nothing was stored', async () => {
    const failed = engine.transaction(async (run) => {
      await run(insert, [400, 'beside', true], 'execute')
      run('select 1 from nowhere', [], 'all').catch(() => undefined)
    })
    await expect(failed.catch(sqlStateOf)).resolves.toBe('42P01')
    expect(await rowsFrom(400)).toEqual([])
  })

  test('names outlive a transaction that fails while they are told', async () => {
    const ask = (run: Engine['run']) => run('select $1::text as outlives', ['x'], 'all')
    const failed = engine.transaction((run) =>
      Promise.all([run('select 1 from nowhere', [], 'all'), ...Array.from({ length: 6 }, () => ask(run))]),
    )
    await expect(failed.catch(sqlStateOf)).resolves.toBe('42P01')
    const { rows } = await engine.transaction(async (run) => {
      for (let n = 0; n < 4; n++) await ask(run)
      return run("select 1 from pg_prepared_statements where statement like '%as outlives%'", [], 'all')
    })
    expect(rows).toHaveLength(1)
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

test('names outlive a connection that breaks before it is of use', async () => {
  const at = new URL(postgres.url)
  const port = Number(at.port)
  let breaks = true
  const line = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    near.on('error', () => far.destroy()).on('close', () => far.destroy())
    far.on('error', () => near.destroy()).on('close', () => near.destroy())
    near.on('data', (bytes) => {
      if (breaks && bytes.includes('plan_cache_mode')) {
        breaks = false
        near.destroy()
      } else far.write(bytes)
    })
    far.pipe(near)
  }).listen(0, '127.0.0.1')
  await once(line, 'listening')
  at.port = String((line.address() as AddressInfo).port)
  const engine = openPostgres(at.href)
  try {
    const ask = () => engine.run('select $1::text as broken_line', ['x'], 'all')
    await expect(ask()).rejects.toMatchObject({ kind: 'unavailable' })
    for (let n = 0; n < 5; n++) await ask()
    const { rows } = await engine.run("select 1 from pg_prepared_statements where name like 'isthmus_%'", [], 'all')
    expect(rows).toHaveLength(1)
  } finally {
    await engine.close()
    line.close()
  }
})
