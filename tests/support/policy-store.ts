import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  appendCompiled,
  type CompiledPlace,
  loadCompiled,
  loadCompiledAt,
  loadCompiledTimeline,
  pruneCompiled,
} from '#control/store/compiled.ts'
import type { Database, Tx } from '#control/store/database.ts'
import { deletePolicy, loadGroups, loadPolicies, loadPolicy, saveGroup, savePolicy } from '#control/store/policies.ts'
import {
  appendHistory,
  historyName,
  loadPoliciesAt,
  loadPolicyHistory,
  loadPolicySeq,
  loadPolicyState,
  loadPolicyTimeline,
  lockPolicies,
  type PolicyHistoryRow,
  prunePolicyHistory,
} from '#control/store/policy-history.ts'
import { type MeshName, parseMeshName } from '#mesh/model/id.ts'

/** What the store promises of policies, groups and the history of configs, on whatever engine. */
export function describePolicyStore(opened: () => { readonly db: Database; readonly mesh: string }): void {
  describe('policies and history', () => {
    const namespace = 'shop'
    const shared = (mesh: MeshName, name: string, at: number) => ({
      ...{ mesh, name, id: name, createdAt: at },
      updatedAt: at,
    })

    /** Writes an object's next state, as the flows do: row and history in one transaction, in one order. */
    async function write(tx: Tx, mesh: MeshName, { name, spec, at }: Write): Promise<void> {
      await lockPolicies(tx, mesh)
      const object = historyName.policy({ namespace, name })
      const [last] = await loadPolicyHistory(tx, mesh, object, { limit: 1 })
      const revision = (last?.revision ?? 0) + 1
      const old = await loadPolicy(tx, mesh, { namespace, name })
      if (spec !== '') await savePolicy(tx, { ...shared(mesh, name, at), namespace, spec, revision })
      else if (old) await deletePolicy(tx, old)
      else return
      await appendHistory(tx, { mesh, object, revision, spec, by: 'me', reason: '', at })
    }

    test('writers at once: one order for all, and each moment of it can be had again', async () => {
      const { db, mesh: name } = opened()
      const mesh = parseMeshName(name)
      const writes = Array.from({ length: 24 }, (_, n): Write => {
        const isDeleted = n % 5 === 4
        return { name: `p${n % 3}`, spec: isDeleted ? '' : `{"n":${n}}`, at: n }
      })
      await Promise.all(writes.map((one) => db.transact((tx) => write(tx, mesh, one))))
      const rows = (await db.read((tx) => loadPolicyHistory(tx, mesh, '', { limit: 100 }))).toReversed()
      expect(rows.map(({ seq }) => seq)).toEqual(rows.map((_, n) => n + 1))
      expect(await db.read((tx) => loadPolicySeq(tx, mesh))).toBe(rows.length)
      for (const [object, own] of Map.groupBy(rows, (row) => row.object)) {
        expect(own.map(({ revision }) => revision)).toEqual(own.map((_, n) => n + 1))
        expect(await db.read((tx) => loadPolicyState(tx, mesh, object, 2))).toEqual(own[1])
      }
      for (const { seq } of rows)
        expect(await stateAt(db, mesh, seq)).toEqual(replayed(rows.filter((row) => row.seq <= seq)))
      const now = (await db.read((tx) => loadPolicies(tx, mesh))).map((row) => [historyName.policy(row), row.spec])
      expect(now).toEqual(await stateAt(db, mesh, rows.length))
    })

    test('what is pruned is no state that was in force since then', async () => {
      const { db, mesh: name } = opened()
      const mesh = parseMeshName(name)
      for (let n = 0; n < 12; n++)
        await db.transact((tx) => write(tx, mesh, { name: `p${n % 2}`, spec: n === 9 ? '' : `{"n":${n}}`, at: n }))
      const rows = await db.read((tx) => loadPolicyHistory(tx, mesh, '', { limit: 100 }))
      const before = await Promise.all(rows.map(({ seq }) => stateAt(db, mesh, seq)))
      const cut = 8
      for (let left = -1; left !== 0; ) left = await db.transact((tx) => prunePolicyHistory(tx, mesh, cut, 3))
      expect(await db.read((tx) => loadPolicyHistory(tx, mesh, '', { limit: 100 }))).not.toHaveLength(rows.length)
      for (const [n, { seq, at }] of rows.entries())
        if (at >= cut - 1) expect(await stateAt(db, mesh, seq)).toEqual(before[n])
    })

    test('groups: written, written over, in the order of their names', async () => {
      const { db, mesh: name } = opened()
      const mesh = parseMeshName(name)
      const group = (one: string, revision: number) => ({ ...shared(mesh, one, revision), clusters: '[]', revision })
      for (const one of [group('b', 1), group('a', 1), group('b', 2)]) await db.transact((tx) => saveGroup(tx, one))
      const rows = await db.read((tx) => loadGroups(tx, mesh))
      expect(rows.map((row) => [row.name, row.revision])).toEqual([
        ['a', 1],
        ['b', 2],
      ])
    })

    test('configs by differences: whole at every revision and moment; a page of the timeline goes on where the last ended', async () => {
      const { db, mesh: name } = opened()
      const mesh = parseMeshName(name)
      const clusters = ['east', 'west', 'a-b']
      const bodies = new Map<string, string>()
      const seed = fc.sample(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 18, maxLength: 18 }), { numRuns: 1 })
      for (const [n, value] of (seed[0] ?? []).entries()) {
        const [cluster = '', revision] = [clusters[n % 3], 1 + Math.floor(n / 3)]
        const old = JSON.parse(bodies.get(`${cluster}@${revision - 1}`) ?? '{"self":{}}') as Record<string, unknown>
        const { [`k${value}`]: had, ...rest } = old
        const whole = had === undefined ? { ...old, [`k${value}`]: n } : rest
        const change = { [`k${value}`]: had === undefined ? n : null }
        bodies.set(`${cluster}@${revision}`, sorted(whole))
        const isWhole = revision === 1 || value === 0
        const row = { mesh, cluster, revision, hash: '', cause: '', author: '', at: Math.floor(n / 4), policies: 0 }
        const kept = isWhole
          ? { base: null, body: sorted(whole) }
          : { base: revision - 1, body: JSON.stringify(change) }
        await db.transact((tx) => appendCompiled(tx, { ...row, ...kept, ackedAt: null }))
      }
      for (const [id, body] of bodies) {
        const [cluster = '', revision] = id.split('@')
        expect((await db.read((tx) => loadCompiled(tx, mesh, cluster, Number(revision))))?.body).toBe(body)
      }
      const all = await db.read((tx) => loadCompiledTimeline(tx, mesh, { last: undefined, limit: 100 }))
      expect(all.map(({ at }) => at)).toEqual(all.map(({ at }) => at).toSorted((a, b) => b - a))
      const paged: string[] = []
      for (let last: { at: number; of?: CompiledPlace } | undefined; ; ) {
        const page = await db.read((tx) => loadCompiledTimeline(tx, mesh, { last, limit: 4 }))
        paged.push(...page.map(({ cluster, revision }) => `${cluster}@${revision}`))
        const end = page.at(-1)
        if (!end) break
        last = { at: end.at, of: end }
      }
      expect(paged).toEqual(all.map(({ cluster, revision }) => `${cluster}@${revision}`))
      expect(paged.toSorted()).toEqual([...bodies.keys()].toSorted())
      for (const at of [0, 2, 4]) {
        const [newest] = all.filter((row) => row.cluster === 'west' && row.at <= at)
        const had = await db.read((tx) => loadCompiledAt(tx, mesh, 'west', at))
        expect([had?.revision, had?.body]).toEqual([newest?.revision, bodies.get(`west@${newest?.revision}`)])
      }
      await db.transact((tx) => pruneCompiled(tx, mesh, 'west', { before: 0, max: 2 }))
      expect((await db.read((tx) => loadCompiled(tx, mesh, 'west', 6)))?.body).toBe(bodies.get('west@6'))
    })

    test('states of one moment keep their order over pages', async () => {
      const { db, mesh: name } = opened()
      const mesh = parseMeshName(name)
      for (let n = 0; n < 6; n++)
        await db.transact((tx) => write(tx, mesh, { name: 'p', spec: `{"n":${n}}`, at: Math.floor(n / 3) }))
      const page = (last: { at: number; seq?: number } | undefined) =>
        db.read((tx) => loadPolicyTimeline(tx, mesh, { last, limit: 2 }))
      const [first, next] = [await page(undefined), await page({ at: 1, seq: 5 })]
      expect([...first, ...next].map(({ seq }) => seq)).toEqual([6, 5, 4, 3])
      expect((await page({ at: 0 })).map(({ seq }) => seq)).toEqual([3, 2])
    })
  })
}

type Write = { readonly name: string; readonly spec: string; readonly at: number }

const sorted = (entries: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(Object.fromEntries(Object.entries(entries).toSorted(([a], [b]) => (a < b ? -1 : 1))))

const stateAt = async (db: Database, mesh: MeshName, seq: number): Promise<readonly (readonly [string, string])[]> =>
  inOrder(await db.read((tx) => loadPoliciesAt(tx, mesh, seq)))

const replayed = (rows: readonly PolicyHistoryRow[]): readonly (readonly [string, string])[] =>
  inOrder([...new Map(rows.map((row) => [row.object, row])).values()].filter(({ spec }) => spec !== ''))

const inOrder = (rows: readonly PolicyHistoryRow[]): readonly (readonly [string, string])[] =>
  rows.map(({ object, spec }) => [object, spec] as const).toSorted(([a], [b]) => (a < b ? -1 : 1))
