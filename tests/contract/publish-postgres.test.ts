import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { type Postgres, startPostgres } from '#tests/support/postgres.ts'
import { exported, facts, gateways, openTestDatabase, summary } from '#tests/support/stores.ts'

// Two processes of one centre on a real PostgreSQL, as two pools in this one: who publishes is settled by a lease.
let server: Postgres
let dir: string
let databases: Database[]
let one: TestCentre
let two: TestCentre
let east: TestRelay
let west: TestRelay
beforeAll(async () => {
  server = await startPostgres()
  dir = mkdtempSync(join(tmpdir(), 'centre-'))
  databases = [await openTestDatabase({ url: server.url }), await openTestDatabase({ url: server.url })]
  const [first, second] = databases
  if (!first || !second) throw new Error('no database')
  one = await openTestCentre({ db: first, dir })
  two = await openTestCentre({ db: second, dir })
  east = await new TestRelay(one, 'east').join()
  west = await new TestRelay(two, 'west').join()
})
afterAll(async () => {
  for (const database of databases) await database.close()
  await server.stop()
  rmSync(dir, { recursive: true, force: true })
})

const leaseMs = 4000
const both = () => Promise.all([one.settle(), two.settle()])
/** Time passes for both. */
const later = (ms: number) => {
  one.clock.now += ms
  two.clock.now += ms
}
const history = async () =>
  (await one.admin('GET', '/v1/cluster-configs/west/revisions')).body['items'] as { revision: number; cause: string }[]

describe('two processes of one centre', () => {
  test('share members, keys and tokens', async () => {
    expect((await two.call('GET', '/v1/clusters/east', { bearer: one.adminKey })).status).toBe(200)
    const body = { ...east.reporter.batch({ cluster: facts('net-east'), gateways, 'export/a/b': exported() }) }
    const answer = await two.call('POST', `/v1/clusters/${east.id}/sync`, { bearer: east.bearer, body })
    expect(answer.status).toBe(200)
  })

  test('publish each change once, though both are asked', async () => {
    await both()
    await west.pull()
    expect(west.text()).toContain('import/a/b')
    const before = await history()
    await both()
    expect(await history()).toEqual(before)
    expect(before.map(({ revision }) => revision)).toEqual(before.map((_, i) => before.length - i))
  })

  test('the one that takes over writes what the other had undone: it trusts no memory of its own', async () => {
    const path = '/v1/service-exports/a/b'
    for (const [consumers, by] of [
      [[], one],
      [['west'], two],
      [[], one],
      [['west'], two],
    ] as const) {
      later(leaseMs + 1)
      await one.admin('PUT', path, { consumers })
      await by.settle()
      await west.pull()
      expect([consumers, west.text().includes('a/b')]).toEqual([consumers, consumers.length > 0])
    }
  })

  test('one that does not hold the lease leaves the work to the other, and takes it when that died', async () => {
    later(leaseMs + 1)
    await one.settle(true)
    await east.sync({ 'export/a/c': exported(), 'summary/a/c': summary(1) })
    await two.settle()
    await west.pull()
    expect(west.text()).not.toContain('import/a/c')
    later(leaseMs + 1)
    await two.settle()
    await west.pull()
    expect(west.text()).toContain('import/a/c')
  })

  test('twenty changes at once through both: what is published last is what is true', async () => {
    const changes = Array.from({ length: 20 }, (_, i) =>
      (i % 2 === 0 ? one : two).admin('PUT', `/v1/service-exports/a/b?cluster=east`, {
        consumers: i % 3 === 0 ? [] : ['west'],
      }),
    )
    const answers = await Promise.all(changes)
    expect(answers.map(({ status }) => status).filter((status) => ![200, 201, 412].includes(status))).toEqual([])
    later(leaseMs + 1)
    await one.settle()
    const policy = await one.admin('GET', '/v1/service-exports/a/b?cluster=east')
    await west.pull()
    expect(west.text().includes('import/a/b')).toBe((policy.body['consumers'] as string[]).includes('west'))
  })
})
