import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { headsFor, pull } from '#control/deliver.ts'
import { loadCluster, updateCluster } from '#control/store/clusters.ts'
import type { Database } from '#control/store/database.ts'
import { deleteOutbox, loadOutbox } from '#control/store/outbox.ts'
import type { ClusterRow } from '#control/store/schema/cluster.ts'
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

describe('a store that was restored from a backup, in a mesh some seconds old', () => {
  const second = 1000
  const headOf = async (reader: ClusterRow, stream: string): Promise<Head> => {
    const head = (await headsFor(db, reader)).find(([name]) => name === stream)
    if (!head) throw new Error(`${stream} is not there`)
    return head
  }
  const ask = (reader: ClusterRow, have: readonly Head[], now: number) =>
    pull(db, reader, { proto: meshSyncText, have: [...have] }, now)

  test('a reader that is ahead keeps what it has until the source was heard; then all begin a new epoch', async () => {
    const { west, north, relay, sync } = await mesh()
    const [stream, epoch, rev] = await headOf(west, 'ep/east/all')
    const others = (await headsFor(db, west)).filter(([name]) => name !== stream)
    const ahead: Head[] = [...others, [stream, epoch, rev + 7]]
    const known = await headsFor(db, north)
    for (const now of [2 * second, 5 * second, 8 * second])
      expect(await ask(west, ahead, now)).toMatchObject({ streams: [], gone: [] })
    expect((await ask(north, known, 8 * second)).streams).toEqual([])

    await sync(relay.batch({ 'summary/ns/a': summary(4) }), 9 * second)
    const { streams } = await ask(west, ahead, 10 * second)
    expect(streams).toMatchObject([{ stream, mode: 'snapshot', from: 0 }])
    expect(streams[0]?.epoch).not.toBe(epoch)
    expect(JSON.stringify(streams[0]?.items)).toContain('"ready":4')
    expect((await ask(north, known, 11 * second)).streams).toMatchObject([{ stream, mode: 'snapshot' }])
  })

  test('who says again and again that it is ahead makes a stream begin anew once in ten minutes', async () => {
    const { west, relay, sync } = await mesh()
    const epochs = new Set<string>()
    for (let now = second; now < 30 * 60 * second; now += 30 * second) {
      const [stream, epoch, rev] = await headOf(west, 'ep/east/all')
      epochs.add(epoch)
      await ask(west, [[stream, epoch, rev + 1]], now)
      await sync(relay.batch({}), now + 1)
    }
    expect(epochs.size).toBe(1 + 3)
  })

  test('so is a reader whose epoch was begun later than the store knows; one from the future is a clock', async () => {
    const { west, relay, sync } = await mesh()
    const [stream, epoch] = await headOf(west, 'ep/east/all')
    const epochAt = (at: number) => `${at.toString(36)}-00000000`
    const streamsAt = async (at: number) =>
      (await ask(west, [[stream, epochAt(at), 1]], 9 * second)).streams.filter((one) => one.stream === stream)
    expect(await streamsAt(60 * second)).toMatchObject([{ mode: 'snapshot', epoch }])
    expect(await streamsAt(5 * second)).toEqual([])
    await sync(relay.batch({}), 10 * second)
    expect(await streamsAt(5 * second)).toMatchObject([{ mode: 'snapshot' }])
  })

  test('a config waits for all members and the compilation, for one that is silent fifteen seconds; trust waits for nobody', async () => {
    const { name, east, west, north, relay, sync } = await mesh()
    const [stream, epoch, rev] = await headOf(west, 'cfg/west')
    const [trust, trustEpoch, trustRev] = await headOf(west, `trust/${name}`)
    const ahead: Head[] = [
      [stream, epoch, rev + 1],
      [trust, trustEpoch, trustRev + 1],
    ]
    const given = async (now: number) =>
      (await ask(west, ahead, now)).streams.map((one) => one.stream).filter((one) => one === stream || one === trust)
    expect(await given(1 * second)).toEqual([trust])
    await sync(relay.batch({}), 2 * second)
    expect(await given(3 * second)).toEqual([trust])
    const others = [new Reporter(), new Reporter()]
    for (const [n, cluster] of [west, north].entries())
      await syncEndpoints(db, cluster, others[n]?.batch({}, { complete: true }) ?? relay.batch({}), {
        ...{ now: 3 * second, newId: randomUUID },
      })
    // East's first report asked for a compilation.
    expect(await given(4 * second)).toEqual([trust])
    await db.transact(async (tx) => {
      const asked = await loadOutbox(tx, name)
      expect(asked.length).toBeGreaterThan(0)
      await deleteOutbox(
        tx,
        name,
        asked.map((row) => row.id),
      )
    })
    expect(await given(5 * second)).toEqual([stream, trust])

    const [mine, own, at] = await headOf(east, 'cfg/east')
    const given2 = async (now: number) => (await ask(east, [[mine, own, at + 1]], now)).streams.map((s) => s.stream)
    expect(await given2(6 * second)).not.toContain(mine)
    expect(await given2(20 * second)).not.toContain(mine)
    expect(await given2(21 * second)).toContain(mine)
  })

  test('a revision that was given out twice: whoever holds the other one takes the stream whole', async () => {
    const { west } = await mesh()
    const have = await headsFor(db, west)
    const asked = async (roots?: readonly string[]) =>
      (await pull(db, west, { proto: meshSyncText, have, ...(roots ? { roots: [...roots] } : {}) }, 1)).streams
    const rows = await db.read((tx) => loadStreams(tx, west.mesh, ['ep', 'cfg', 'trust', 'adv']))
    const roots = have.map(([stream]) => rows.find((row) => row.stream === stream)?.root.slice(0, 8) ?? 'none')
    expect(await asked()).toEqual([])
    expect(await asked(roots)).toEqual([])
    const [[stream, epoch, rev]] = have as [Head]
    const other = ['00000000', ...roots.slice(1)]
    expect(await asked(other)).toMatchObject([{ stream, epoch, mode: 'snapshot', to: rev }])
  })
})
