import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pull } from '#control/deliver.ts'
import { loadFleet } from '#control/load-fleet.ts'
import { projectMesh } from '#control/project-cluster.ts'
import { loadCluster, updateCluster } from '#control/store/clusters.ts'
import { ageKeptMs, dropExportAges, loadExportAges } from '#control/store/export-ages.ts'
import { loadLive, loadStream } from '#control/store/streams.ts'
import { sweep } from '#control/store/sweep.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import type { SyncRequest } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import type { StoreUnderTest } from '#tests/support/store-under-test.ts'
import {
  epochOf,
  exported,
  facts,
  gateways,
  type Held,
  joined,
  Reporter,
  summary,
  take,
} from '#tests/support/stores.ts'

/** What the store promises of reports: whatever came twice, late or against a conflict, one state. */
export function describeReports(store: StoreUnderTest): void {
  describe('reports', () => {
    /** What must be equal whatever happened on the way: items and roots, without revisions and epochs. */
    const stateOf = async (mesh: string) => {
      const streams: Record<string, unknown> = {}
      for (const stream of ['rep/east', 'ep/east/all']) {
        const row = await store.db.read((tx) => loadStream(tx, { mesh, stream }))
        const live = await store.db.read((tx) => loadLive(tx, { mesh, stream }))
        streams[stream] = [row?.root, live.map((item) => [item.key, item.hash, item.body])]
      }
      return streams
    }

    test('any order, repetition and replay of batches gives the state of sending each once', async () => {
      const service = fc.constantFrom('a', 'b', 'c')
      const batch = fc.record({
        summaries: fc.dictionary(service, fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined })),
        exports: fc.dictionary(service, fc.boolean()),
      })
      const script = fc.record({
        batches: fc.array(batch, { minLength: 1, maxLength: 5 }),
        noise: fc.array(fc.nat(), { maxLength: 12 }),
        newEpochAt: fc.option(fc.nat({ max: 4 }), { nil: undefined }),
      })
      await fc.assert(
        fc.asyncProperty(script, async ({ batches, noise, newEpochAt }) => {
          const [calm, rough] = [store.freshMesh(), store.freshMesh()]
          const atCalm = await joined(store.db, calm, 'east')
          const atRough = await joined(store.db, rough, 'east')
          const relay = new Reporter()
          const requests = batches.map(({ summaries, exports }, i) => {
            const items: Record<string, Json | undefined> = i === 0 ? { gateways } : {}
            for (const [s, n] of Object.entries(summaries))
              items[`summary/ns/${s}`] = n === undefined ? undefined : summary(n)
            for (const [s, yes] of Object.entries(exports)) items[`export/ns/${s}`] = yes ? exported() : undefined
            if (i === newEpochAt) {
              const all: Record<string, Json | undefined> = Object.fromEntries(relay.told)
              Object.assign(all, items)
              relay.restart(epochOf(2))
              return relay.batch(all, { complete: true })
            }
            return relay.batch(items, i === 0 ? { complete: true } : {})
          })
          const send = (to: typeof atCalm, request: (typeof requests)[number]) =>
            syncEndpoints(store.db, to, request, { now: 1, newId: randomUUID })
          for (const request of requests) expect((await send(atCalm, request)).answer.resync).toBeUndefined()
          for (const request of requests) {
            // Earlier and later batches come in between; whatever is refused is refused whole.
            for (const n of noise.splice(0, 4)) {
              const other = requests[n % requests.length]
              if (other && (other.epoch !== request.epoch || other.seq !== request.seq || n % 2 === 0))
                if (requests.indexOf(other) <= requests.indexOf(request)) await send(atRough, other).catch(onlyConflict)
            }
            await send(atRough, request)
            await send(atRough, request)
          }
          for (const request of requests) await send(atRough, request).catch(onlyConflict)
          expect(await stateOf(rough)).toEqual(await stateOf(calm))
        }),
        { numRuns: store.kind === 'embedded' ? 12 : 8 },
      )
    })

    const onlyConflict = (error: unknown) => {
      expect(error).toMatchObject({ kind: 'conflict' })
    }

    test('a conflict at any statement of a sync gives the same state as none', async () => {
      const reference = store.freshMesh()
      const run = async (mesh: string) => {
        const [east] = [await joined(store.db, mesh, 'east'), await joined(store.db, mesh, 'west')]
        const relay = new Reporter()
        const items = { cluster: facts('net-z'), 'export/ns/a': exported(), 'summary/ns/a': summary(1), gateways }
        return () =>
          syncEndpoints(store.db, east, relay.batch(items, { complete: true }), { now: 1, newId: randomUUID })
      }
      await (await run(reference))()
      const want = await stateOf(reference)
      for (let at = 1; at < 200; at++) {
        const mesh = store.freshMesh()
        const sync = await run(mesh)
        let count = 0
        let thrown = false
        store.hook.onStatement = () => {
          if (++count !== at) return
          thrown = true
          throw Object.assign(new Error('could not serialize access'), { code: '40001' })
        }
        try {
          await sync()
        } finally {
          store.hook.onStatement = undefined
        }
        expect(await stateOf(mesh)).toEqual(want)
        if (!thrown) return
      }
      throw new Error('a sync has more statements than any should')
    })

    test('reports and policy that change at the same time end in agreement', async () => {
      const mesh = parseMeshName(store.freshMesh())
      const members = await Promise.all(['east', 'west', 'north'].map((name) => joined(store.db, mesh, name)))
      const [east, west] = members
      if (!east || !west) throw new Error('no members')
      const relay = new Reporter()
      const send = (items: Record<string, Json>) =>
        syncEndpoints(store.db, east, relay.batch(items, relay.seq === 0 ? { complete: true } : {}), {
          now: 1,
          newId: randomUUID,
        })
      await send({ gateways, 'export/ns/a': exported(), 'summary/ns/a': summary(0, true) })
      const moving = async () => {
        for (const network of ['net-east', 'net-x', 'net-east']) {
          await store.db.transact(async (tx) => {
            const row = await loadCluster(tx, mesh, west.id)
            if (row) await updateCluster(tx, row, { network })
          })
          await projectMesh(store.db, mesh, 1)
        }
      }
      const reporting = async () => {
        for (let i = 1; i < 15; i++) await send({ 'summary/ns/a': summary(i, true) })
      }
      await Promise.all([moving(), reporting()])
      const held = new Map<string, Held>()
      for (const page of (await pull(store.db, west, { proto: meshSyncText, have: [] }, 1)).streams) take(held, [page])
      const bodies = [...held.values()].flatMap((stream) => stream.items.get('ns/a') ?? [])
      expect(bodies).toHaveLength(1)
      expect(bodies[0]).toContain('"ready":14')
      expect(bodies[0]).toContain('10.0.0.1')
    })
  })

  test('an export is as old as the centre knows it: through reports of everything and a short gap, not through a long one', async () => {
    const mesh = parseMeshName(store.freshMesh())
    const [east, west] = [await joined(store.db, mesh, 'east'), await joined(store.db, mesh, 'west')]
    const relays = { east: new Reporter(), west: new Reporter() }
    const key = 'export/ns/a'
    const say = (row: typeof east, request: SyncRequest, now: number) =>
      syncEndpoints(store.db, row, request, { now, newId: randomUUID })
    const ages = async () => {
      const { members } = await store.db.read((tx) => loadFleet(tx, mesh, new Map()))
      return members.flatMap(({ exports }) => [...exports.values()].map(({ createdAt }) => createdAt))
    }
    await say(east, relays.east.batch({ [key]: exported({ createdAt: 9e12 }) }, { complete: true }), 1000)
    await say(west, relays.west.batch({ [key]: exported({ createdAt: 0 }) }, { complete: true }), 2000)
    expect(await ages()).toEqual([1000, 2000])

    await say(east, relays.east.batch({ [key]: exported({ headless: true }) }), 3000)
    relays.east.restart(epochOf(2))
    await say(east, relays.east.batch({ gateways }), 4000)
    await say(east, relays.east.batch({ [key]: exported() }, { complete: true }), 4001)
    expect(await ages()).toEqual([1000, 2000])

    await say(east, relays.east.batch({ [key]: undefined }), 5000)
    expect(await ages()).toEqual([2000])
    await say(east, relays.east.batch({ [key]: exported() }), 5000 + ageKeptMs)
    expect(await ages()).toEqual([1000, 2000])
    relays.east.restart(epochOf(3))
    await say(east, relays.east.batch({}, { complete: true }), 1e9)
    const back = 1e9 + ageKeptMs + 1
    await say(east, relays.east.batch({ [key]: exported() }), back)
    expect(await ages()).toEqual([back, 2000])

    await say(west, relays.west.batch({ [key]: undefined }), 1e9)
    await sweep(store.db, back)
    const rows = (cluster: string) => store.db.read((tx) => loadExportAges(tx, { mesh, cluster }))
    expect([[...(await rows('east'))], [...(await rows('west'))]]).toEqual([[['ns/a', back]], []])
    // One that was there before ages were kept is as old as its cluster's membership, and stays so.
    await store.db.transact((tx) => dropExportAges(tx, { mesh, cluster: 'east' }))
    await say(east, relays.east.batch({ [key]: exported({ headless: true }) }), back + 1)
    expect(await ages()).toEqual([east.joinedAt])
  })
}
