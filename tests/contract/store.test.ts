import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pull } from '#control/deliver.ts'
import { loadFleet } from '#control/load-fleet.ts'
import { projectMesh } from '#control/project-cluster.ts'
import { dropLinks, insertLink, loadLastLink, loadLinks } from '#control/store/bundle-links.ts'
import { loadCluster, updateCluster } from '#control/store/clusters.ts'
import { type Database, isDuplicate } from '#control/store/database.ts'
import { ageKeptMs, dropExportAges, loadExportAges } from '#control/store/export-ages.ts'
import { dropIssuances, insertIssuance, loadIssuances } from '#control/store/issuances.ts'
import { deleteLoad, loadLoad, loadLoads, loadLoadTimes, saveLoad } from '#control/store/loads.ts'
import { loadMesh, saveMesh } from '#control/store/meshes.ts'
import { insertRevocation, loadStanding, undoRevocationRow } from '#control/store/revocations.ts'
import { insertRotation, loadOpenRotations, openSlot, updateRotation } from '#control/store/rotations.ts'
import { countShifts, insertShift, pruneShifts } from '#control/store/shift-events.ts'
import { readPage } from '#control/store/stream-pages.ts'
import { append } from '#control/store/stream-writes.ts'
import { loadItems, loadLive, loadStream } from '#control/store/streams.ts'
import { sweep, tombstoneMsMin } from '#control/store/sweep.ts'
import { lockTrustHead, moveTrustHead } from '#control/store/trust-heads.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { type ClusterName, parseClusterName, parseMeshName } from '#mesh/model/id.ts'
import type { Load } from '#mesh/model/load.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import type { SyncRequest } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import { describePolicyStore } from '#tests/support/policy-store.ts'
import { type Postgres, startPostgres } from '#tests/support/postgres.ts'
import { subsetFault } from '#tests/support/sql-subset.ts'
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

describe.each(['embedded', 'postgres'] as const)('store on %s', (kind) => {
  let server: Postgres | undefined
  let db: Database
  let meshes = 0
  /** Throws where a test says so; keeps every statement. */
  let onStatement: ((text: string) => void) | undefined
  const statements = new Set<string>()

  beforeAll(async () => {
    server = kind === 'postgres' ? await startPostgres() : undefined
    const hook = (text: string) => {
      if (text !== 'commit') statements.add(text)
      onStatement?.(text)
    }
    db = await openTestDatabase({ url: server?.url, onStatement: hook })
  })
  afterAll(async () => {
    await db.close()
    await server?.stop()
  })

  const freshMesh = () => `mesh${++meshes}`
  const change = (key: string, value: number | undefined) => ({
    key,
    body: value === undefined ? undefined : { value },
  })
  const put = (mesh: string, stream: string, key: string, value: number | undefined, now = 1) =>
    db.transact((tx) => append(tx, { mesh, stream }, [change(key, value)], now))

  /** Reads on from where `held` stands, in pages of `rows` items, and takes them once the last has come. */
  async function readOn(held: Map<string, Held>, mesh: string, stream: string, rows: number): Promise<number> {
    const at = held.get(stream)
    let pages: StreamDelta[] = []
    let next: string | undefined
    do {
      const from = { have: at && { epoch: at.epoch, rev: at.rev }, next }
      const page = await db.read((tx) => readPage(tx, { mesh, stream }, from, { rows, bytes: 1e6 }))
      if (!page) return 0
      // A page that is of another beginning starts anew.
      if (pages[0] && (pages[0].mode !== page.mode || pages[0].epoch !== page.epoch)) pages = []
      pages.push(page)
      next = page.next
    } while (next !== undefined)
    take(held, pages)
    return pages.length
  }

  describe('transactions', () => {
    test('what throws stores nothing, also after statements that went well', async () => {
      const mesh = parseMeshName(freshMesh())
      const failing = db.transact(async (tx) => {
        await saveMesh(tx, mesh, 1)
        throw new Error('no')
      })
      await expect(failing).rejects.toThrow('no')
      expect(await db.read((tx) => loadMesh(tx, mesh))).toBeUndefined()
    })

    test('a statement that failed and was caught still takes the transaction with it', async () => {
      const mesh = parseMeshName(freshMesh())
      const swallowing = db.transact(async (tx) => {
        await saveMesh(tx, mesh, 1)
        await saveMesh(tx, 'x'.repeat(100) as typeof mesh, 1).catch(() => undefined)
      })
      await expect(swallowing).rejects.toThrow(/too long/)
      expect(await db.read((tx) => loadMesh(tx, mesh))).toBeUndefined()
    })

    test('one inside another is refused instead of waiting for itself', async () => {
      await expect(db.transact(() => db.read((tx) => loadMesh(tx, 'm')))).rejects.toThrow('inside another')
    })

    test('what is not committed is not read', async () => {
      const mesh = parseMeshName(freshMesh())
      const written = Promise.withResolvers<void>()
      let seen: unknown = 'nothing yet'
      const asking = written.promise
        .then(() => db.read((tx) => loadMesh(tx, mesh)))
        .then((row) => {
          seen = row
        })
      await db.transact(async (tx) => {
        await saveMesh(tx, mesh, 1)
        written.resolve()
        // A server answers from before; the embedded engine lets the reader wait.
        await (kind === 'embedded' ? pause(50) : asking)
        expect(seen).toBe(kind === 'embedded' ? 'nothing yet' : undefined)
      })
      await asking
      if (kind === 'embedded') expect(seen).toMatchObject({ name: mesh })
    })

    test('many callers are served in the order they came', async () => {
      const order: number[] = []
      const asks = Array.from({ length: 30 }, (_, n) =>
        db.transact(async (tx) => {
          await loadMesh(tx, 'any')
          order.push(n)
        }),
      )
      await Promise.all(asks)
      expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, n) => n))
      if (kind === 'embedded') expect(order).toEqual(order.toSorted((a, b) => a - b))
    })

    test('a conflict at any statement, the commit too, runs it again and has its effect once', async () => {
      for (let at = 1; ; at++) {
        const mesh = freshMesh()
        let count = 0
        let thrown = false
        onStatement = () => {
          if (++count !== at) return
          thrown = true
          throw Object.assign(new Error('could not serialize access'), { code: '40001' })
        }
        try {
          await put(mesh, 'adv/x', 'a', 1)
        } finally {
          onStatement = undefined
        }
        expect(await db.read((tx) => loadStream(tx, { mesh, stream: 'adv/x' }))).toMatchObject({ head: 1 })
        if (!thrown) break
        expect(at).toBeLessThan(20)
      }
    })

    test('a conflict that does not end is given up after five tries', async () => {
      let tries = 0
      onStatement = () => {
        tries++
        throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
      }
      try {
        await expect(put(freshMesh(), 'adv/x', 'a', 1)).rejects.toMatchObject({ kind: 'unavailable' })
      } finally {
        onStatement = undefined
      }
      expect(tries).toBe(5)
    })
  })

  describe('streams', () => {
    test('many writers of one stream: revisions are contiguous and every write is there', async () => {
      const mesh = freshMesh()
      const revisions: number[] = []
      const writer = async (w: number) => {
        for (let i = 0; i < 20; i++) {
          const delta = await put(mesh, 'adv/x', `w${w}-${i}`, i)
          if (delta) revisions.push(delta.to)
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, w) => writer(w)))
      expect(revisions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 160 }, (_, i) => i + 1))
      expect(await db.read((tx) => loadLive(tx, { mesh, stream: 'adv/x' }))).toHaveLength(160)
    })

    test('a reader that polls while others write misses no committed change and never sees half of one', async () => {
      const mesh = freshMesh()
      const last = new Map<string, number | undefined>()
      let writing = true
      const writer = async (w: number) => {
        for (let i = 0; i < 25; i++) {
          const key = `k${(i * 7 + w) % 13}-${w}`
          const value = i % 5 === 4 ? undefined : i
          // Two keys change together; a reader must see both or neither (the root tells).
          await db.transact((tx) =>
            append(tx, { mesh, stream: 'adv/x' }, [change(key, value), change(`pair-${w}`, i)], 1),
          )
          last.set(key, value).set(`pair-${w}`, i)
          if (i % 3 === 0) await pause(Math.random() * 4)
        }
      }
      const reader = async (rows: number) => {
        const held = new Map<string, Held>()
        let before = 0
        while (writing) {
          await readOn(held, mesh, 'adv/x', rows)
          const now = held.get('adv/x')?.rev ?? 0
          expect(now).toBeGreaterThanOrEqual(before)
          before = now
        }
        await readOn(held, mesh, 'adv/x', rows)
        return held.get('adv/x')
      }
      const readers = [reader(1), reader(3), reader(1000)]
      await Promise.all(Array.from({ length: 4 }, (_, w) => writer(w)))
      writing = false
      const want = [...last].filter(([, v]) => v !== undefined).map(([k, v]) => [k, `{"value":${v}}`])
      for (const held of await Promise.all(readers)) {
        expect(held?.rev).toBe(100)
        expect([...(held?.items ?? [])].toSorted()).toEqual(want.toSorted())
      }
    })

    test('what changes nothing makes no revision, and a key that comes back lives again', async () => {
      const mesh = freshMesh()
      expect((await put(mesh, 'adv/x', 'a', 1))?.to).toBe(1)
      expect(await put(mesh, 'adv/x', 'a', 1)).toBeUndefined()
      expect(await put(mesh, 'adv/x', 'never-was', undefined)).toBeUndefined()
      expect((await put(mesh, 'adv/x', 'a', undefined))?.to).toBe(2)
      expect((await put(mesh, 'adv/x', 'a', 1))?.to).toBe(3)
    })

    test('commits between the pages of a snapshot or a delta never give a wrong state', async () => {
      const step = fc.record({
        key: fc.integer({ min: 0, max: 11 }),
        value: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
      })
      const script = fc.record({
        first: fc.array(step, { maxLength: 12 }),
        between: fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 8 }),
        rows: fc.integer({ min: 1, max: 4 }),
      })
      await fc.assert(
        fc.asyncProperty(script, async ({ first, between, rows }) => {
          const mesh = freshMesh()
          const held = new Map<string, Held>()
          const state = new Map<string, number>()
          const write = async (steps: typeof first) => {
            const changes = [...new Map(steps.map((s) => [`k${s.key}`, s.value]))]
            for (const [key, value] of changes)
              if (value === undefined) state.delete(key)
              else state.set(key, value)
            if (changes.length > 0)
              await db.transact((tx) =>
                append(
                  tx,
                  { mesh, stream: 'adv/x' },
                  changes.map(([k, v]) => change(k, v)),
                  1,
                ),
              )
          }
          await write(first)
          // Each page is followed by a commit, until they run out.
          const pending = [...between]
          for (let round = 0; round < 2; round++) {
            let pages: StreamDelta[] = []
            let next: string | undefined
            do {
              const at = held.get('adv/x')
              const from = { have: at && { epoch: at.epoch, rev: at.rev }, next }
              const page = await db.read((tx) => readPage(tx, { mesh, stream: 'adv/x' }, from, { rows, bytes: 1e6 }))
              if (!page) break
              if (pages[0] && pages[0].mode !== page.mode) pages = []
              pages.push(page)
              next = page.next
              if (next !== undefined) await write(pending.shift() ?? [])
            } while (next !== undefined)
            take(held, pages)
            for (const steps of pending.splice(0, 2)) await write(steps)
          }
          await readOn(held, mesh, 'adv/x', rows)
          expect(new Map(held.get('adv/x')?.items)).toEqual(new Map([...state].map(([k, v]) => [k, `{"value":${v}}`])))
        }),
        { numRuns: kind === 'embedded' ? 25 : 15 },
      )
    })

    test('behind the collected tombstones, of another epoch or ahead of the store: a snapshot', async () => {
      const mesh = freshMesh()
      const cluster = await joined(db, mesh, 'west')
      const ref = { mesh, stream: `trust/${mesh}` }
      const day = 10 * tombstoneMsMin
      for (const key of ['a', 'b']) await put(mesh, ref.stream, key, 1, day)
      await put(mesh, ref.stream, 'a', undefined, day)
      const epoch = (await db.read((tx) => loadStream(tx, ref)))?.epoch ?? ''
      const ask = async (rev: number, of = epoch, now = day) =>
        (await pull(db, cluster, { proto: meshSyncText, have: [[ref.stream, of, rev]] }, now)).streams[0]
      expect(await ask(3)).toBeUndefined()
      expect(await ask(1)).toMatchObject({ mode: 'delta', from: 1, to: 3 })
      expect(await ask(1, 'other')).toMatchObject({ mode: 'snapshot', to: 3 })
      await sweep(db, day + 1000)
      expect(await ask(1)).toMatchObject({ mode: 'delta' })
      await sweep(db, day + tombstoneMsMin + 1)
      expect(await ask(1)).toMatchObject({ mode: 'snapshot', items: [{ k: 'b' }] })
      expect(await ask(3)).toBeUndefined()
      // The reader saw revision 9 before a backup was restored: what comes must not look like a step on from there.
      const restored = await ask(9, epoch, day + 2 * tombstoneMsMin)
      expect(restored).toMatchObject({ mode: 'snapshot', to: 3 })
      expect(restored?.epoch).not.toBe(epoch)
    })

    test('an answer that is full names the other streams, and the next pages bring them', async () => {
      const mesh = freshMesh()
      const [east, west] = [await joined(db, mesh, 'east'), await joined(db, mesh, 'west')]
      const relay = new Reporter()
      const big = 'z'.repeat(60)
      for (let part = 0; part < 6; part++) {
        const items: Record<string, Json> = part === 0 ? { gateways } : {}
        for (let i = 0; i < 200; i++) {
          items[`export/ns/s${part}-${i}`] = exported()
          items[`summary/ns/s${part}-${i}`] = {
            counts: Array.from({ length: 8 }, (_, z) => ({
              port: 80,
              region: big,
              zone: `${big}${z}`.slice(-63),
              ready: 1,
              total: 1,
            })),
          }
        }
        await syncEndpoints(db, east, relay.batch(items, { complete: part === 5 }), { now: 1, newId: randomUUID })
      }
      await put(mesh, `trust/${mesh}`, 'root', 1)
      const held = new Map<string, Held>()
      const pages = new Map<string, StreamDelta[]>()
      let next: Record<string, string> = {}
      let answers = 0
      do {
        const have = [...held].map(([stream, h]): [string, string, number] => [stream, h.epoch, h.rev])
        const answer = await pull(db, west, { proto: meshSyncText, have, ...(answers > 0 ? { next } : {}) }, 1)
        next = {}
        for (const page of answer.streams) {
          const list = [...(pages.get(page.stream) ?? []), page]
          pages.set(page.stream, list)
          if (page.next === undefined) take(held, list)
          else next[page.stream] = page.next
        }
        expect(JSON.stringify(answer).length).toBeLessThan(1.3 * 1024 * 1024)
        expect(++answers).toBeLessThan(20)
      } while (Object.keys(next).length > 0)
      expect(answers).toBeGreaterThan(1)
      expect(held.get('ep/east/all')?.items.size).toBe(1201)
      expect(held.get(`trust/${mesh}`)?.items.size).toBe(1)
    })
  })

  describe('reports', () => {
    /** What must be equal whatever happened on the way: items and roots, without revisions and epochs. */
    const stateOf = async (mesh: string) => {
      const streams: Record<string, unknown> = {}
      for (const stream of ['rep/east', 'ep/east/all']) {
        const row = await db.read((tx) => loadStream(tx, { mesh, stream }))
        const live = await db.read((tx) => loadLive(tx, { mesh, stream }))
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
          const [calm, rough] = [freshMesh(), freshMesh()]
          const atCalm = await joined(db, calm, 'east')
          const atRough = await joined(db, rough, 'east')
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
            syncEndpoints(db, to, request, { now: 1, newId: randomUUID })
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
        { numRuns: kind === 'embedded' ? 12 : 8 },
      )
    })

    const onlyConflict = (error: unknown) => {
      expect(error).toMatchObject({ kind: 'conflict' })
    }

    test('a conflict at any statement of a sync gives the same state as none', async () => {
      const reference = freshMesh()
      const run = async (mesh: string) => {
        const [east] = [await joined(db, mesh, 'east'), await joined(db, mesh, 'west')]
        const relay = new Reporter()
        const items = { cluster: facts('net-z'), 'export/ns/a': exported(), 'summary/ns/a': summary(1), gateways }
        return () => syncEndpoints(db, east, relay.batch(items, { complete: true }), { now: 1, newId: randomUUID })
      }
      await (await run(reference))()
      const want = await stateOf(reference)
      for (let at = 1; at < 200; at++) {
        const mesh = freshMesh()
        const sync = await run(mesh)
        let count = 0
        let thrown = false
        onStatement = () => {
          if (++count !== at) return
          thrown = true
          throw Object.assign(new Error('could not serialize access'), { code: '40001' })
        }
        try {
          await sync()
        } finally {
          onStatement = undefined
        }
        expect(await stateOf(mesh)).toEqual(want)
        if (!thrown) return
      }
      throw new Error('a sync has more statements than any should')
    })

    test('reports and policy that change at the same time end in agreement', async () => {
      const mesh = parseMeshName(freshMesh())
      const members = await Promise.all(['east', 'west', 'north'].map((name) => joined(db, mesh, name)))
      const [east, west] = members
      if (!east || !west) throw new Error('no members')
      const relay = new Reporter()
      const send = (items: Record<string, Json>) =>
        syncEndpoints(db, east, relay.batch(items, relay.seq === 0 ? { complete: true } : {}), {
          now: 1,
          newId: randomUUID,
        })
      await send({ gateways, 'export/ns/a': exported(), 'summary/ns/a': summary(0, true) })
      const moving = async () => {
        for (const network of ['net-east', 'net-x', 'net-east']) {
          await db.transact(async (tx) => {
            const row = await loadCluster(tx, mesh, west.id)
            if (row) await updateCluster(tx, row, { network })
          })
          await projectMesh(db, mesh, 1)
        }
      }
      const reporting = async () => {
        for (let i = 1; i < 15; i++) await send({ 'summary/ns/a': summary(i, true) })
      }
      await Promise.all([moving(), reporting()])
      const held = new Map<string, Held>()
      for (const page of (await pull(db, west, { proto: meshSyncText, have: [] }, 1)).streams) take(held, [page])
      const bodies = [...held.values()].flatMap((stream) => stream.items.get('ns/a') ?? [])
      expect(bodies).toHaveLength(1)
      expect(bodies[0]).toContain('"ready":14')
      expect(bodies[0]).toContain('10.0.0.1')
    })
  })

  test('an export is as old as the centre knows it: through reports of everything and a short gap, not through a long one', async () => {
    const mesh = parseMeshName(freshMesh())
    const [east, west] = [await joined(db, mesh, 'east'), await joined(db, mesh, 'west')]
    const relays = { east: new Reporter(), west: new Reporter() }
    const key = 'export/ns/a'
    const say = (row: typeof east, request: SyncRequest, now: number) =>
      syncEndpoints(db, row, request, { now, newId: randomUUID })
    const ages = async () => {
      const { members } = await db.read((tx) => loadFleet(tx, mesh, new Map()))
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
    await sweep(db, back)
    const rows = (cluster: string) => db.read((tx) => loadExportAges(tx, { mesh, cluster }))
    expect([[...(await rows('east'))], [...(await rows('west'))]]).toEqual([[['ns/a', back]], []])
    // One that was there before ages were kept is as old as its cluster's membership, and stays so.
    await db.transact((tx) => dropExportAges(tx, { mesh, cluster: 'east' }))
    await say(east, relays.east.batch({ [key]: exported({ headless: true }) }), back + 1)
    expect(await ages()).toEqual([east.joinedAt])
  })

  test('the last load report of each cluster is kept; a shift is told once, and counted by its cluster', async () => {
    const mesh = parseMeshName(freshMesh())
    const [east, west] = ['east', 'west'].map(parseClusterName) as [ClusterName, ClusterName]
    const none = { rows: [], gateways: [], latencies: [], shares: [], below: [], health: [] }
    const load: Load = {
      ...{
        epoch: 'a'.repeat(16),
        seq: 1,
        at: 5,
        windowMs: 10,
        adv: null,
        cfg: { epoch: 'e', rev: 2, hash: 'f'.repeat(64) },
      },
      ...{ proxies: { measured: 1, notMeasured: 0 }, ...none },
    }
    await db.transact((tx) => saveLoad(tx, mesh, { cluster: west, takenAt: 1, load }))
    await db.transact((tx) => saveLoad(tx, mesh, { cluster: east, takenAt: 2, load }))
    await db.transact((tx) => saveLoad(tx, mesh, { cluster: west, takenAt: 3, load: { ...load, seq: 2 } }))
    const kept = [
      { cluster: east, takenAt: 2, load },
      { cluster: west, takenAt: 3, load: { ...load, seq: 2 } },
    ]
    expect(await db.read((tx) => loadLoads(tx, mesh))).toEqual(kept)
    expect(await db.read((tx) => loadLoadTimes(tx, mesh))).toEqual(
      kept.map(({ cluster, takenAt: at }) => ({ cluster, at })),
    )
    await db.transact((tx) => deleteLoad(tx, mesh, east))
    expect(await db.read((tx) => loadLoad(tx, mesh, east))).toBeUndefined()
    expect(await db.read((tx) => loadLoad(tx, mesh, west))).toEqual(kept[1])
    const told = (seq: number, at: number, cluster = 'west') =>
      db.transact((tx) => insertShift(tx, { mesh, cluster, epoch: 'a', seq, at }))
    expect([await told(1, 10), await told(1, 11), await told(2, 20), await told(1, 20, 'east')]).toEqual([
      true,
      false,
      true,
      true,
    ])
    expect(await db.read((tx) => countShifts(tx, mesh, 'west', 10))).toBe(1)
    expect(await db.transact((tx) => pruneShifts(tx, mesh, 20))).toBe(1)
    expect(await db.read((tx) => countShifts(tx, mesh, 'west', 0))).toBe(1)
  })

  describe('trust', () => {
    test('chains that many writers append to at once have no gap and no fork', async () => {
      const mesh = parseMeshName(freshMesh())
      const append = (n: number) =>
        db.transact(async (tx) => {
          const head = await lockTrustHead(tx, mesh, 'issuances')
          const row = {
            mesh,
            seq: head.seq + 1,
            at: n,
            prev: head.hash,
            hash: `h${head.seq + 1}`,
            body: '{"kind":"x"}',
          }
          await insertIssuance(tx, row)
          await moveTrustHead(tx, { ...head, seq: row.seq, hash: row.hash })
        })
      await Promise.all(Array.from({ length: 12 }, (_, n) => append(n)))
      const rows = await db.read((tx) => loadIssuances(tx, mesh, 0, 100))
      expect(rows.map(({ seq, prev }) => [seq, prev])).toEqual(rows.map((_, n) => [n + 1, n === 0 ? '' : `h${n}`]))
      expect(await db.transact((tx) => dropIssuances(tx, mesh, 5))).toBe(5)
    })

    test('the newest link alone holds its bundle; a slot takes one rotation; a revocation is undone once', async () => {
      const mesh = parseMeshName(freshMesh())
      await db.transact(async (tx) => {
        for (const seq of [1, 2, 3]) await insertLink(tx, { mesh, seq, bundle: `{"seq":${seq}}`, link: '{}' })
        await dropLinks(tx, mesh, [1])
      })
      expect(await db.read((tx) => loadLastLink(tx, mesh))).toMatchObject({ seq: 3, bundle: '{"seq":3}' })
      expect((await db.read((tx) => loadLinks(tx, mesh))).map(({ seq, bundle }) => [seq, bundle === ''])).toEqual([
        [2, true],
        [3, false],
      ])
      const rotation = {
        ...{
          mesh,
          kind: 'root' as const,
          slot: openSlot('root'),
          step: 'prepared' as const,
          fromId: 'a',
          toId: 'b',
          startedAt: 1,
        },
        ...{ stepAt: 1, seq: 0, by: 'centre', reason: '', forced: '[]', revision: 1 },
      } as const
      await db.transact((tx) => insertRotation(tx, { ...rotation, id: 'one' }))
      await expect(db.transact((tx) => insertRotation(tx, { ...rotation, id: 'two' }))).rejects.toSatisfy(isDuplicate)
      const [open] = await db.read((tx) => loadOpenRotations(tx, mesh))
      if (!open) throw new Error('no rotation runs')
      expect(await db.transact((tx) => updateRotation(tx, open, { slot: 'one' }))).toMatchObject({ revision: 2 })
      expect(await db.transact((tx) => updateRotation(tx, open, { step: 'active' }))).toBeUndefined()
      await db.transact((tx) => insertRotation(tx, { ...rotation, id: 'two' }))
      const revoked = {
        ...{
          mesh,
          cut: 1,
          kind: 'cluster' as const,
          subject: 'east',
          cluster: 'east',
          trustDomain: 'east.m',
          exports: '[]',
        },
        ...{ reason: 'r', by: 'centre', at: 1, undoneAt: null, revision: 1 },
      } as const
      await db.transact((tx) => insertRevocation(tx, revoked))
      expect(await db.read((tx) => loadStanding(tx, mesh))).toHaveLength(1)
      expect(await db.transact((tx) => undoRevocationRow(tx, revoked, 2))).toMatchObject({ undoneAt: 2 })
      expect(await db.transact((tx) => undoRevocationRow(tx, revoked, 3))).toBeUndefined()
      expect(await db.read((tx) => loadStanding(tx, mesh))).toEqual([])
    })
  })

  describePolicyStore(() => ({ db, mesh: freshMesh() }))

  test('every statement that was executed stays within the SQL that all engines share', async () => {
    await db.read((tx) => loadItems(tx, { mesh: 'none', stream: 'adv/x' }, ['a']))
    expect(statements.size).toBeGreaterThan(20)
    expect([...statements].map(subsetFault).filter((fault) => fault !== undefined)).toEqual([])
  })
})
