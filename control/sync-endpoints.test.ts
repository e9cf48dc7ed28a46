import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pull } from '#control/deliver.ts'
import { projectMesh } from '#control/project-cluster.ts'
import { reportBounds } from '#control/report-bounds.ts'
import { type ClusterRow, loadCluster, updateCluster } from '#control/store/clusters.ts'
import type { Database } from '#control/store/database.ts'
import { insertNarrowing } from '#control/store/exports.ts'
import { loadOutbox } from '#control/store/outbox.ts'
import { loadLive, loadStream } from '#control/store/streams.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import type { SyncRequest } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import {
  epochOf,
  exported,
  facts,
  gateways,
  type Held,
  joined,
  openTestDatabase,
  Reporter,
  summary,
  take,
} from '#tests/support/stores.ts'

let db: Database
let count = 0
beforeAll(async () => {
  db = await openTestDatabase()
})
afterAll(() => db.close())

/** Three members of a fresh mesh, each on its own network, and a sync of the first. */
async function mesh(networks: Readonly<Record<string, string>> = {}) {
  const name = `m${++count}`
  const member = (cluster: string) =>
    joined(db, name, cluster, networks[cluster] === undefined ? {} : { network: networks[cluster] })
  const [east, west, north] = [await member('east'), await member('west'), await member('north')]
  const sync = (request: SyncRequest, now = 1000) => syncEndpoints(db, east, request, { now, newId: randomUUID })
  return { name: parseMeshName(name), east, west, north, sync }
}

const held = new WeakMap<ClusterRow, Map<string, Held>>()
/** What a cluster holds after one pull from where it stands, by stream and key. */
async function seenBy(cluster: ClusterRow): Promise<Record<string, string[]>> {
  const have = held.get(cluster) ?? new Map<string, Held>()
  held.set(cluster, have)
  const position = [...have].map(([stream, { epoch, rev }]): [string, string, number] => [stream, epoch, rev])
  const answer = await pull(db, cluster, { proto: meshSyncText, have: position }, 1000)
  for (const page of answer.streams) take(have, [page])
  for (const stream of answer.gone) have.delete(stream)
  return Object.fromEntries([...have].map(([stream, { items }]) => [stream, [...items.keys()].sort()]))
}

const service = (more = {}, flat = false) => ({
  'export/shop/reviews': exported(more),
  'summary/shop/reviews': summary(3, flat),
})

describe('a report', () => {
  test('an exported summary reaches every other member, with the gateways, and never the source', async () => {
    const { sync, east, west, north } = await mesh()
    const { answer, changed, factsChanged } = await sync(
      new Reporter().batch({ ...service(), gateways }, { complete: true }),
    )
    expect(answer).toMatchObject({ appliedSeq: 1, time: 1000 })
    expect(answer.resync).toBeUndefined()
    expect(factsChanged).toBe(true)
    expect(changed.map((c) => c.stream)).toEqual(['ep/east/all'])
    expect(await seenBy(west)).toEqual({ 'ep/east/all': ['gateways', 'shop/reviews'] })
    expect(await seenBy(north)).toEqual({ 'ep/east/all': ['gateways', 'shop/reviews'] })
    expect(await seenBy(east)).toEqual({})
  })

  test('a summary without its export is told to nobody, nor an export without its summary', async () => {
    const { sync, west } = await mesh()
    const relay = new Reporter()
    await sync(
      relay.batch(
        { 'summary/shop/reviews': summary(1), 'export/shop/ratings': exported(), gateways },
        { complete: true },
      ),
    )
    expect(await seenBy(west)).toEqual({})
    await sync(relay.batch({ 'export/shop/reviews': exported() }))
    expect(await seenBy(west)).toEqual({ 'ep/east/all': ['gateways', 'shop/reviews'] })
  })

  test('a summary that changes is no fact: configs stay as they are and only its item travels', async () => {
    const { sync, name } = await mesh()
    const relay = new Reporter()
    await sync(relay.batch({ ...service(), gateways }, { complete: true }))
    const before = (await db.read((tx) => loadOutbox(tx, name))).length
    const { changed, factsChanged } = await sync(relay.batch({ 'summary/shop/reviews': summary(2) }))
    expect(factsChanged).toBe(false)
    expect(changed).toHaveLength(1)
    expect(changed[0]?.delta?.items.map((item) => item.k)).toEqual(['shop/reviews'])
    expect((await db.read((tx) => loadOutbox(tx, name))).length).toBe(before)
  })

  test('a change of consumers moves the summary to the new audience in one step', async () => {
    const { sync, west, north } = await mesh()
    const relay = new Reporter()
    await sync(relay.batch({ ...service(), gateways }, { complete: true }))
    await seenBy(west)
    await seenBy(north)
    await sync(relay.batch({ 'export/shop/reviews': exported({ consumers: ['west'] }) }))
    const atWest = await seenBy(west)
    expect(Object.values(atWest).flat().sort()).toEqual(['gateways', 'shop/reviews'])
    expect(Object.values(await seenBy(north)).flat()).toEqual([])
    expect(Object.keys(await seenBy(north))).toEqual(['ep/east/all'])
  })

  test('pod addresses go only to members of the same network, and nobody gets a service twice', async () => {
    const { sync, west, north } = await mesh({ east: 'shared', west: 'shared' })
    await sync(new Reporter().batch({ ...service({}, true), gateways }, { complete: true }))
    await seenBy(west)
    await seenBy(north)
    const body = (cluster: ClusterRow) =>
      [...(held.get(cluster)?.values() ?? [])].flatMap((s) => s.items.get('shop/reviews') ?? [])
    expect(body(west)).toHaveLength(1)
    expect(body(west)[0]).toContain('10.0.0.1')
    expect(body(north)).toHaveLength(1)
    expect(body(north)[0]).not.toContain('10.0.0.1')
  })

  test("the operator's list narrows, and a withdrawn export takes item and gateways with it", async () => {
    const { sync, west, north, name } = await mesh()
    const relay = new Reporter()
    await sync(relay.batch({ ...service(), gateways }, { complete: true }))
    const row = {
      mesh: name,
      id: randomUUID(),
      namespace: 'shop',
      name: 'reviews',
      cluster: '',
      consumers: '["north"]',
    }
    await db.transact((tx) => insertNarrowing(tx, { ...row, revision: 1, createdAt: 1, updatedAt: 1 }))
    await projectMesh(db, name, 2000)
    expect(Object.values(await seenBy(west)).flat()).toEqual([])
    expect(
      Object.values(await seenBy(north))
        .flat()
        .sort(),
    ).toEqual(['gateways', 'shop/reviews'])
    await sync(relay.batch({ 'export/shop/reviews': undefined }))
    expect(Object.values(await seenBy(north)).flat()).toEqual([])
  })

  test('on the network of another by the operator’s word: its own share of pod addresses; by its own: refused', async () => {
    const { sync, name, west } = await mesh({ east: 'shared' })
    await sync(new Reporter().batch({ ...service({}, true), gateways }, { complete: true }))
    const reporter = new Reporter()
    const say = (network: string) =>
      syncEndpoints(db, west, reporter.batch({ cluster: facts(network) }, { complete: true }), {
        now: 1,
        newId: randomUUID,
      })
    const isThere = async () => (await db.read((tx) => loadCluster(tx, name, west.id)))?.network
    const seen = async () => {
      await projectMesh(db, name, 2000)
      await seenBy(west)
      return [...(held.get(west)?.values() ?? [])].map((s) => s.items.get('shop/reviews') ?? '').join()
    }
    const refused = [{ key: 'cluster', reason: expect.stringContaining('"shared" is that of east') }]
    expect((await say('shared')).answer.rejected).toEqual(refused)
    expect(await isThere()).toBe('net-west')
    expect((await say('net-new')).answer.rejected).toBeUndefined()
    expect(await isThere()).toBe('net-new')
    expect(await seen()).not.toContain('10.0.0.1')
    await db.transact(async (tx) => {
      const row = await loadCluster(tx, name, west.id)
      if (row) await updateCluster(tx, row, { network: 'shared' })
    })
    expect((await say('shared')).answer.rejected).toBeUndefined()
    expect(await seen()).toContain('10.0.0.1')
  })

  test('a cluster that left: its summaries go, and it can report no more', async () => {
    const { sync, name, east, west } = await mesh()
    const relay = new Reporter()
    await sync(relay.batch({ ...service(), gateways }, { complete: true }))
    await db.transact(async (tx) => {
      const row = await loadCluster(tx, name, east.id)
      if (row) await updateCluster(tx, row, { state: 'left' })
    })
    await projectMesh(db, name, 2000)
    expect(Object.values(await seenBy(west)).flat()).toEqual([])
    await expect(sync(relay.batch({}))).rejects.toMatchObject({ kind: 'forbidden' })
  })
})

describe('order and repetition', () => {
  test('the same batch again changes nothing, answers the same and hints again', async () => {
    const { sync, name } = await mesh()
    const first = new Reporter().batch({ ...service(), gateways }, { complete: true })
    const before = await sync(first)
    const after = await sync(first)
    expect(after.answer).toEqual(before.answer)
    expect(after.changed).toMatchObject([{ stream: 'ep/east/all', rev: 1 }])
    expect(await db.read((tx) => loadStream(tx, { mesh: name, stream: 'rep/east' }))).toMatchObject({
      head: 1,
      srcSeq: 1,
    })
  })

  test('a gap is refused and names the batch that is missing', async () => {
    const { sync } = await mesh()
    const relay = new Reporter()
    await sync(relay.batch({ gateways }, { complete: true }))
    relay.batch({ cluster: facts('a') })
    await expect(sync(relay.batch({}))).rejects.toMatchObject({ kind: 'conflict', extra: { needSeq: 2 } })
  })

  test('a store that knows nothing of the epoch asks for its beginning', async () => {
    const { sync } = await mesh()
    const relay = new Reporter()
    relay.batch({ gateways })
    await expect(sync(relay.batch({}))).rejects.toMatchObject({ kind: 'conflict', extra: { needSeq: 1 } })
  })

  test('a batch of a replaced epoch is refused with the epoch that is current', async () => {
    const { sync } = await mesh()
    const old = new Reporter().batch({ gateways }, { complete: true })
    await sync(old)
    await sync(new Reporter(epochOf(2)).batch({ gateways }, { complete: true }))
    await expect(sync(old)).rejects.toMatchObject({ kind: 'conflict', extra: { epochBehind: true, epoch: epochOf(2) } })
  })

  test('a new epoch takes nothing away until it is complete, and then what it did not name', async () => {
    const { sync, west } = await mesh()
    const relay = new Reporter()
    const ratings = { 'export/shop/ratings': exported(), 'summary/shop/ratings': summary(1) }
    await sync(relay.batch({ ...service(), ...ratings, gateways }, { complete: true }))
    relay.restart(epochOf(2))
    const halfway = await sync(relay.batch({ ...service() }))
    expect(halfway.answer.resync).toBeUndefined()
    expect(Object.values(await seenBy(west)).flat()).toContain('shop/ratings')
    const { answer } = await sync(relay.batch({ gateways }, { complete: true }))
    expect(answer.resync).toBeUndefined()
    expect(
      Object.values(await seenBy(west))
        .flat()
        .sort(),
    ).toEqual(['gateways', 'shop/reviews'])
  })

  test('a root that differs asks for everything anew', async () => {
    const { sync } = await mesh()
    const { answer } = await sync(new Reporter().batch({ gateways }, { complete: true, root: '1'.repeat(64) }))
    expect(answer.resync).toBe(true)
  })
})

describe('bad items', () => {
  test('one is refused by key, the last good value stays, the rest goes on and the root still fits', async () => {
    const { sync, name } = await mesh()
    const relay = new Reporter()
    await sync(relay.batch({ ...service(), gateways }, { complete: true }))
    const { answer } = await sync(
      relay.batch({
        'export/shop/reviews': { ports: 'many' },
        'summary/shop/reviews': summary(7),
        'future/x/y': { a: 1 },
      }),
    )
    expect(answer.rejected?.map((r) => r.key)).toEqual(['export/shop/reviews'])
    expect(answer.resync).toBeUndefined()
    const live = await db.read((tx) => loadLive(tx, { mesh: name, stream: 'ep/east/all' }))
    expect(live.find((item) => item.key === 'shop/reviews')?.body).toContain('"ready":7')
  })

  test('an item past its bound and a network that is no label are refused', async () => {
    const { sync } = await mesh()
    const big = {
      counts: Array.from({ length: 2000 }, () => ({ port: 1, region: 'r'.repeat(60), zone: '', ready: 1, total: 1 })),
    }
    const { answer } = await sync(new Reporter().batch({ 'summary/shop/big': big, cluster: facts('Not A Label') }))
    expect(answer.rejected).toHaveLength(2)
    expect(answer.rejected?.[0]?.reason).toContain('at most 65536')
  })

  test('a cluster that reports without end is stopped, and what it had stays', async () => {
    const { sync, name, east } = await mesh()
    const relay = new Reporter()
    await sync(relay.batch({ ...service(), gateways }, { complete: true }))
    const more = relay.batch({ 'summary/ns/a': summary(1), 'summary/ns/b': summary(1) })
    const moment = { now: 1, newId: randomUUID, bounds: { ...reportBounds, items: 4 } }
    await expect(syncEndpoints(db, east, more, moment)).rejects.toThrow(/cluster east reports more than 4 items/)
    expect(await db.read((tx) => loadStream(tx, { mesh: name, stream: 'rep/east' }))).toMatchObject({ srcSeq: 1 })
    const same = { ...more, items: [{ k: 'summary/shop/reviews', v: summary(9) as Record<string, unknown> }] }
    expect((await syncEndpoints(db, east, same, moment)).answer.appliedSeq).toBe(2)
  })

  test('nor may one fill the store: with large items, also ones that only grow, or with ever new names', async () => {
    const { sync, name, east } = await mesh()
    const relay = new Reporter()
    const zones = (many: number): Json => ({
      counts: Array.from({ length: many }, (_, n) => ({ port: 1, region: 'r', zone: `z${n}`, ready: 1, total: 1 })),
    })
    const small = { 'summary/ns/a': zones(60), 'summary/ns/b': zones(60) }
    await sync(relay.batch(small, { complete: true }))
    const moment = { now: 1, newId: randomUUID, bounds: { ...reportBounds, bytes: 10_000 } }
    const large = relay.batch({ 'summary/ns/b': zones(120) })
    await expect(syncEndpoints(db, east, large, moment)).rejects.toMatchObject({
      kind: 'too-many',
      message: expect.stringMatching(/^cluster east reports more than 10000 bytes in all: .* stays in force$/),
    })
    const stored = await db.read((tx) => loadLive(tx, { mesh: name, stream: 'rep/east' }))
    expect(stored.map(({ body }) => body).join()).not.toContain('z61')

    const few = { now: 1, newId: randomUUID, bounds: { ...reportBounds, names: 4 } }
    const others = new Reporter(epochOf(2))
    const turn = (n: number) =>
      syncEndpoints(
        db,
        east,
        others.batch({ [`summary/ns/n${n - 1}`]: undefined, [`summary/ns/n${n}`]: summary(1) }),
        few,
      )
    await turn(1)
    await turn(2)
    await expect(turn(3)).rejects.toThrow(/more than 4 different names within a day/)
  })

  test('a key said twice in one batch has its last value', async () => {
    const { sync, west } = await mesh()
    const relay = new Reporter()
    const request = relay.batch({ ...service(), gateways }, { complete: true })
    const twice = { ...request, items: [{ k: 'export/shop/reviews', v: { ports: [] } }, ...request.items] }
    const { answer } = await sync(twice)
    expect(answer.resync).toBeUndefined()
    expect(await seenBy(west)).toEqual({ 'ep/east/all': ['gateways', 'shop/reviews'] })
  })

  test('a relay two minors away is refused', async () => {
    const { sync } = await mesh()
    await expect(sync(new Reporter().batch({}, { proto: 'mesh-sync/1.9' }))).rejects.toMatchObject({ kind: 'conflict' })
  })
})
