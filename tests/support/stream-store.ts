import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pull } from '#control/deliver.ts'
import { readPage } from '#control/store/stream-pages.ts'
import { append } from '#control/store/stream-writes.ts'
import { loadLive, loadStream } from '#control/store/streams.ts'
import { sweep, tombstoneMsMin } from '#control/store/sweep.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import { change, put, type StoreUnderTest } from '#tests/support/store-under-test.ts'
import { exported, gateways, type Held, joined, Reporter, take } from '#tests/support/stores.ts'

/** What the store promises of streams: to writers, to readers that poll, and between the pages of an answer. */
export function describeStreams(store: StoreUnderTest): void {
  /** Reads on from where `held` stands, in pages of `rows` items, and takes them once the last has come. */
  async function readOn(held: Map<string, Held>, mesh: string, stream: string, rows: number): Promise<number> {
    const at = held.get(stream)
    let pages: StreamDelta[] = []
    let next: string | undefined
    do {
      const from = { have: at && { epoch: at.epoch, rev: at.rev }, next }
      const page = await store.db.read((tx) => readPage(tx, { mesh, stream }, from, { rows, bytes: 1e6 }))
      if (!page) return 0
      // A page that is of another beginning starts anew.
      if (pages[0] && (pages[0].mode !== page.mode || pages[0].epoch !== page.epoch)) pages = []
      pages.push(page)
      next = page.next
    } while (next !== undefined)
    take(held, pages)
    return pages.length
  }

  describe('streams', () => {
    test('many writers of one stream: revisions are contiguous and every write is there', async () => {
      const mesh = store.freshMesh()
      const revisions: number[] = []
      const writer = async (w: number) => {
        for (let i = 0; i < 20; i++) {
          const delta = await put(store, mesh, 'adv/x', `w${w}-${i}`, i)
          if (delta) revisions.push(delta.to)
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, w) => writer(w)))
      expect(revisions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 160 }, (_, i) => i + 1))
      expect(await store.db.read((tx) => loadLive(tx, { mesh, stream: 'adv/x' }))).toHaveLength(160)
    })

    test('a reader that polls while others write misses no committed change and never sees half of one', async () => {
      const mesh = store.freshMesh()
      const last = new Map<string, number | undefined>()
      let writing = true
      const writer = async (w: number) => {
        for (let i = 0; i < 25; i++) {
          const key = `k${(i * 7 + w) % 13}-${w}`
          const value = i % 5 === 4 ? undefined : i
          // Two keys change together; a reader must see both or neither (the root tells).
          await store.db.transact((tx) =>
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
      const mesh = store.freshMesh()
      expect((await put(store, mesh, 'adv/x', 'a', 1))?.to).toBe(1)
      expect(await put(store, mesh, 'adv/x', 'a', 1)).toBeUndefined()
      expect(await put(store, mesh, 'adv/x', 'never-was', undefined)).toBeUndefined()
      expect((await put(store, mesh, 'adv/x', 'a', undefined))?.to).toBe(2)
      expect((await put(store, mesh, 'adv/x', 'a', 1))?.to).toBe(3)
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
          const mesh = store.freshMesh()
          const held = new Map<string, Held>()
          const state = new Map<string, number>()
          const write = async (steps: typeof first) => {
            const changes = [...new Map(steps.map((s) => [`k${s.key}`, s.value]))]
            for (const [key, value] of changes)
              if (value === undefined) state.delete(key)
              else state.set(key, value)
            if (changes.length > 0)
              await store.db.transact((tx) =>
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
              const page = await store.db.read((tx) =>
                readPage(tx, { mesh, stream: 'adv/x' }, from, { rows, bytes: 1e6 }),
              )
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
        { numRuns: store.kind === 'embedded' ? 25 : 15 },
      )
    })

    test('behind the collected tombstones, of another epoch or ahead of the store: a snapshot', async () => {
      const mesh = store.freshMesh()
      const cluster = await joined(store.db, mesh, 'west')
      const ref = { mesh, stream: `trust/${mesh}` }
      const day = 10 * tombstoneMsMin
      for (const key of ['a', 'b']) await put(store, mesh, ref.stream, key, 1, day)
      await put(store, mesh, ref.stream, 'a', undefined, day)
      const epoch = (await store.db.read((tx) => loadStream(tx, ref)))?.epoch ?? ''
      const ask = async (rev: number, of = epoch, now = day) =>
        (await pull(store.db, cluster, { proto: meshSyncText, have: [[ref.stream, of, rev]] }, now)).streams[0]
      expect(await ask(3)).toBeUndefined()
      expect(await ask(1)).toMatchObject({ mode: 'delta', from: 1, to: 3 })
      expect(await ask(1, 'other')).toMatchObject({ mode: 'snapshot', to: 3 })
      await sweep(store.db, day + 1000)
      expect(await ask(1)).toMatchObject({ mode: 'delta' })
      await sweep(store.db, day + tombstoneMsMin + 1)
      expect(await ask(1)).toMatchObject({ mode: 'snapshot', items: [{ k: 'b' }] })
      expect(await ask(3)).toBeUndefined()
      // The reader saw revision 9 before a backup was restored: what comes must not look like a step on from there.
      const restored = await ask(9, epoch, day + 2 * tombstoneMsMin)
      expect(restored).toMatchObject({ mode: 'snapshot', to: 3 })
      expect(restored?.epoch).not.toBe(epoch)
    })

    test('an answer that is full names the other streams, and the next pages bring them', async () => {
      const mesh = store.freshMesh()
      const [east, west] = [await joined(store.db, mesh, 'east'), await joined(store.db, mesh, 'west')]
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
        await syncEndpoints(store.db, east, relay.batch(items, { complete: part === 5 }), { now: 1, newId: randomUUID })
      }
      await put(store, mesh, `trust/${mesh}`, 'root', 1)
      const held = new Map<string, Held>()
      const pages = new Map<string, StreamDelta[]>()
      let next: Record<string, string> = {}
      let answers = 0
      do {
        const have = [...held].map(([stream, h]): [string, string, number] => [stream, h.epoch, h.rev])
        const answer = await pull(store.db, west, { proto: meshSyncText, have, ...(answers > 0 ? { next } : {}) }, 1)
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
}
