import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compile } from '#mesh/compile/compile.ts'
import { type Plan, planOf, type Step } from '#mesh/foresee/plan.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import { type ClusterName, parseClusterName } from '#mesh/model/id.ts'
import type { TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'
import { clusterConfigHash, entriesOf, writtenOf } from '#mesh/wire/cluster-config.ts'
import { fleetOf } from '#tests/support/foreseen-fleet.ts'
import { type Changed, randomWishes } from '#tests/support/random-policies.ts'

const fleet = fleetOf({ clusters: 5, services: 4, exporters: 3 })
const names = {
  clusters: fleet.members.map(({ name }) => name),
  regions: ['region-0', 'region-1'],
  groups: ['a', 'b'],
  services: Array.from({ length: 4 }, (_, n) => `svc-${n}`),
}
const nothingKnown = { sight: { services: new Map(), gateways: new Map() }, demands: new Map() }

/** The fleet once a change is done. */
function done(before: Fleet, { kind, name, spec }: Changed): Fleet {
  if (kind === 'SamenessGroup') {
    const clusters = ((spec?.['clusters'] ?? []) as string[]).map(parseClusterName)
    const groups = (before.groups ?? []).filter((group) => group.name !== name)
    return { ...before, groups: spec ? [...groups, { name, clusters, revision: 1 }] : groups }
  }
  const policies = (before.policies ?? []).filter((policy) => policy.name !== name)
  const revision = 1 + (before.policies?.find((policy) => policy.name === name)?.revision ?? 0)
  const wanted = { namespace: 'shop', name, revision, origin: 'api' as const, spec: spec as TrafficPolicySpec }
  return { ...before, policies: spec ? [...policies, wanted] : policies }
}

function stepsFrom(before: Fleet, wishes: readonly Changed[]): Step[] {
  let last = before
  return wishes.map((wish, policies) => {
    last = done(last, wish)
    return { wish: { ...wish, spec: (wish.spec ?? null) as Json }, policies, after: last }
  })
}

type Bytes = ReadonlyMap<ClusterName, ReadonlyMap<string, string>>

const textOf = (all: Bytes): readonly string[] =>
  [...all].flatMap(([cluster, entries]) => [...entries].map((entry) => `${cluster} ${entry.join(' ')}`)).toSorted()

/** What a centre that starts anew writes for each cluster. */
const bytesOf = (of: Fleet): Bytes =>
  new Map(
    [...compile(of)].map(([cluster, config]) => [
      cluster,
      new Map([...entriesOf(config)].map(([key, body]) => [key, writtenOf(key, body).body])),
    ]),
  )

function changed(before: Bytes, { changes }: Plan): Bytes {
  const all = new Map([...before].map(([cluster, entries]) => [cluster, new Map(entries)]))
  for (const { key, clusters, before: was, after } of changes)
    for (const cluster of clusters) {
      const entries = all.get(cluster)
      expect(entries?.get(key)).toBe(was && canonicalJson(was))
      if (after) entries?.set(key, canonicalJson(after))
      else entries?.delete(key)
    }
  return all
}

test('the difference that a plan shows is the one between what is written before and after, byte for byte', () => {
  let seen = 0
  let before: Fleet = fleet
  let last = bytesOf(fleet)
  fc.assert(
    fc.property(randomWishes(names, 8), (wishes) => {
      const steps = stepsFrom(before, wishes)
      const plan = planOf(before, steps, nothingKnown)
      const after = steps.at(-1)?.after ?? before
      const bytes = bytesOf(after)
      expect(textOf(changed(last, plan))).toEqual(textOf(bytes))
      const configs = compile(after)
      for (const { cluster, hash } of plan.clusters) {
        const config = configs.get(cluster)
        expect(hash).toBe(config && clusterConfigHash(entriesOf(config)))
      }
      seen += plan.changes.length
      before = after
      last = bytes
    }),
    { numRuns: 40, endOnFailure: true },
  )
  expect(seen).toBeGreaterThan(100)
})
