import { rmSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { lockStream, writeItems } from '#control/store/stream-writes.ts'
import { parseClusterConfig } from '#mesh/wire/cluster-config.ts'
import { reportStream } from '#mesh/wire/stream.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, openTestDatabase, summary } from '#tests/support/stores.ts'

/** A centre starts on a store in which items of one cluster cannot be read: another version wrote them, or a hand did. */
let db: Database
let first: TestCentre
beforeAll(async () => {
  db = await openTestDatabase()
  first = await openTestCentre({ db })
})
afterAll(async () => {
  await db.close()
  rmSync(first.dir, { recursive: true, force: true })
})

const gatewaysAt = (address: string) => ({ gateways: [{ address, port: 15443, state: 'ready' }] })

test('it starts, sets those items aside where people look, and publishes everything else', async () => {
  const odd = await new TestRelay(first, 'odd').join()
  const west = await new TestRelay(first, 'west').join()
  const service = (key: string) => ({ [`export/${key}`]: exported(), [`summary/${key}`]: summary(3) })
  await odd.sync(
    { cluster: facts('net-odd'), gateways: gatewaysAt('127.21.0.2'), ...service('shop/web'), ...service('shop/cut') },
    { complete: true },
  )
  await west.sync({ cluster: facts('net-west'), gateways: gatewaysAt('127.22.0.2') }, { complete: true })
  await first.settle()
  await west.pull()
  const before = [...(west.held.get('ep/odd/all')?.items ?? [])].filter(([key]) => key !== 'shop/cut')
  expect(before.map(([key]) => key).sort()).toEqual(['gateways', 'shop/web'])

  const unread = {
    'export/shop/cut': '{"ports":',
    'summary/shop/web': '[1]',
    gateways: '{"gateways":7}',
    'refuse/a/b': '{',
  }
  await db.transact(async (tx) => {
    const rep = await lockStream(tx, { mesh: 'mesh1', stream: reportStream('odd') }, 1)
    const writes = Object.keys(unread).map((key, n) => ({ key, body: '{}', hash: `${n}`.repeat(64) }))
    await writeItems(tx, rep, writes, { now: 1 })
    for (const [key, body] of Object.entries(unread))
      await tx.execute(`update items set body = '${body}' where stream = 'rep/odd' and key = '${key}'`)
  })
  const again = await openTestCentre({ db, dir: first.dir })
  for (const relay of [odd, west]) Object.assign(relay, { test: again })
  await again.settle()

  await Promise.all([odd.pull(), west.pull()])
  expect([...(west.held.get('ep/odd/all')?.items ?? [])]).toEqual(before)
  const configOf = (relay: TestRelay) =>
    parseClusterConfig(
      new Map([...(relay.held.get(`cfg/${relay.name}`)?.items ?? [])].map(([k, v]) => [k, JSON.parse(v)])),
    )
  const told = configOf(odd).conditions.filter(({ reason }) => reason === 'NotUnderstood')
  for (const key of Object.keys(unread)) expect(told.map(({ message }) => message).join()).toContain(`"${key}"`)
  expect([...configOf(west).imports.keys()]).toEqual(['shop/web'])

  const moved = { gateways: gatewaysAt('127.22.0.3'), ...service('shop/new') }
  expect(await west.sync(moved)).toMatchObject({ status: 200, body: { appliedSeq: 2 } })
  await again.settle()
  await odd.pull()
  expect([...configOf(odd).imports.keys()]).toContain('shop/new')
  for (const path of ['/v1/services', '/v1/service-exports', '/v1/gateways', '/v1/endpoints', '/v1/cluster-configs'])
    expect([path, (await again.admin('GET', path)).status]).toEqual([path, 200])

  const mended = { gateways: gatewaysAt('127.21.0.9'), 'summary/shop/web': summary(5) }
  expect((await odd.sync(mended)).status).toBe(200)
  await west.pull()
  expect(west.held.get('ep/odd/all')?.items.get('shop/web')).toContain('"ready":5')
  expect(west.held.get('ep/odd/all')?.items.get('gateways')).toContain('127.21.0.9')
})
