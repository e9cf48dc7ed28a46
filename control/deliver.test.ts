import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { headsFor, pull } from '#control/deliver.ts'
import { loadCluster, updateCluster } from '#control/store/clusters.ts'
import type { Database } from '#control/store/database.ts'
import { append } from '#control/store/stream-writes.ts'
import { loadStreams } from '#control/store/streams.ts'
import { sweep, tombstoneMsMin } from '#control/store/sweep.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import type { Head } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import { exported, gateways, joined, openTestDatabase, Reporter, summary } from '#tests/support/stores.ts'

let db: Database
let count = 0
beforeAll(async () => {
  db = await openTestDatabase()
})
afterAll(() => db.close())

/** East exports `a` to everybody and `b` to north alone; every cluster has a config. */
async function mesh() {
  const name = parseMeshName(`m${++count}`)
  const [east, west, north] = [
    await joined(db, name, 'east'),
    await joined(db, name, 'west'),
    await joined(db, name, 'north'),
  ]
  const relay = new Reporter()
  const items = {
    ...{ gateways, 'export/ns/a': exported(), 'summary/ns/a': summary(1) },
    ...{ 'export/ns/b': exported({ consumers: ['north'] }), 'summary/ns/b': summary(1) },
  }
  const sync = (request = relay.batch(items, { complete: true }), now = 1) =>
    syncEndpoints(db, east, request, { now, newId: randomUUID })
  await sync()
  const write = (stream: string) => db.transact((tx) => append(tx, { mesh: name, stream }, [{ key: 'x', body: 1 }], 1))
  for (const stream of ['cfg/east', 'cfg/west', 'cfg/north', `trust/${name}`, `adv/${name}`]) await write(stream)
  return { name, east, west, north, relay, sync }
}

const names = (heads: readonly Head[]) => heads.map(([stream]) => stream).toSorted()
const holding = (...streams: string[]) => ({ proto: meshSyncText, have: streams.map((s): Head => [s, 'old', 1]) })

test('a cluster reads its own config, trust, advice and what is exported to it', async () => {
  const { name, east, west, north } = await mesh()
  const common = [`adv/${name}`, `trust/${name}`]
  expect(names(await headsFor(db, east))).toEqual([...common, 'cfg/east'].toSorted())
  expect(names(await headsFor(db, west))).toEqual([...common, 'cfg/west', 'ep/east/all'].toSorted())
  const atNorth = names(await headsFor(db, north))
  expect(atNorth).toHaveLength(5)
  expect(atNorth.filter((stream) => stream.startsWith('ep/east/'))).toHaveLength(2)
})

test('asking for a stream by name does not open it', async () => {
  const { west, north } = await mesh()
  const secret = names(await headsFor(db, north)).find((s) => s.startsWith('ep/east/') && s !== 'ep/east/all') ?? ''
  const next = { [secret]: Buffer.from('{"t":"s","epoch":"","since":0,"key":""}').toString('base64url') }
  const answer = await pull(db, west, { ...holding(secret, 'cfg/east', 'rep/east', 'ep/west/all'), next }, 1)
  expect(answer.streams.map((s) => s.stream)).not.toContain(secret)
  expect(JSON.stringify(answer)).not.toContain('ns/b')
  expect(answer.gone.toSorted()).toEqual([secret, 'cfg/east', 'rep/east', 'ep/west/all'].toSorted())
})

test('a mesh sees nothing of another that has the same names', async () => {
  const one = await mesh()
  const other = await mesh()
  await one.sync(one.relay.batch({ 'summary/ns/a': summary(9) }))
  const answer = await pull(db, other.west, { proto: meshSyncText, have: [] }, 1)
  expect(JSON.stringify(answer)).not.toContain('"ready":9')
})

test('nothing new, nothing sent', async () => {
  const { west } = await mesh()
  expect(await pull(db, west, { proto: meshSyncText, have: await headsFor(db, west) }, 5)).toMatchObject({
    streams: [],
    gone: [],
    time: 5,
  })
})

test('a cursor that is not ours begins from where the reader stands', async () => {
  const { west } = await mesh()
  const have = await headsFor(db, west)
  for (const cursor of ['', '!!', Buffer.from('{"t":"d","epoch":1}').toString('base64url'), 'e30']) {
    const { streams } = await pull(db, west, { proto: meshSyncText, have, next: { 'ep/east/all': cursor } }, 1)
    expect(streams).toMatchObject([{ stream: 'ep/east/all', mode: 'delta', items: [] }])
    expect(streams[0]?.next).toBeUndefined()
  }
})

describe('unknown is not gone', () => {
  test('a stream that the store lacks is not mentioned while its source has not reported', async () => {
    const { west } = await mesh()
    const { gone } = await pull(db, west, holding('ep/north/all', `adv/${west.mesh}`, 'cfg/west'), 1)
    expect(gone).toEqual([])
  })

  test('it is gone once its source has reported everything without it, or is a member no more', async () => {
    const { name, west, north } = await mesh()
    await syncEndpoints(db, north, new Reporter().batch({}, { complete: true }), { now: 1, newId: randomUUID })
    expect((await pull(db, west, holding('ep/north/all'), 1)).gone).toEqual(['ep/north/all'])
    const left = await joined(db, name, 'south')
    expect((await pull(db, west, holding('ep/south/all'), 1)).gone).toEqual([])
    await db.transact(async (tx) => {
      const row = await loadCluster(tx, name, left.id)
      if (row) await updateCluster(tx, row, { state: 'left' })
    })
    expect((await pull(db, west, holding('ep/south/all'), 1)).gone).toEqual(['ep/south/all'])
  })
})

test('an audience that is no more: its stream is swept after a day, and comes back readable', async () => {
  const { name, north, sync, relay } = await mesh()
  const day = 5 * tombstoneMsMin
  const streams = async () => (await db.read((tx) => loadStreams(tx, name, ['ep'], 'east'))).map((row) => row.stream)
  await sync(relay.batch({ 'export/ns/b': undefined }), day)
  expect(await streams()).toHaveLength(2)
  await sweep(db, day + tombstoneMsMin + 1)
  await sweep(db, day + 2 * tombstoneMsMin + 2)
  await sweep(db, day + 3 * tombstoneMsMin + 3)
  expect(await streams()).toEqual(['ep/east/all'])
  await sync(relay.batch({ 'export/ns/b': exported({ consumers: ['north'] }) }), day + 3 * tombstoneMsMin + 4)
  const { streams: seen } = await pull(db, north, { proto: meshSyncText, have: [] }, 1)
  expect(seen.flatMap((s) => s.items.map((item) => item.k))).toContain('ns/b')
})
