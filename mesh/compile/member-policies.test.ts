import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compile } from '#mesh/compile/compile.ts'
import { newCompiler } from '#mesh/compile/compiler.ts'
import { anyFleet, fleet, member, name, offer, reviews } from '#mesh/compile/testdata/fleet.ts'
import { anyGroups, anyPolicies } from '#mesh/compile/testdata/policies.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { entriesOf } from '#mesh/wire/cluster-config.ts'

const qalpha = name('qalpha')
const bytesOf = (given: Fleet): Map<ClusterName, string> =>
  new Map([...compile(given)].map(([cluster, config]) => [cluster, canonicalJson([...entriesOf(config)])]))

/** A member with this name, and what it may have: policies of its own, whatever they say. */
const theirs = (all: readonly TrafficPolicy[]): TrafficPolicy[] => all.map((one) => ({ ...one, origin: qalpha }))

test('whatever a member writes, no other config moves by a byte', () => {
  fc.assert(
    fc.property(anyFleet, anyPolicies, anyPolicies, anyGroups, (given, policies, own, groups) => {
      const api = policies.filter(({ origin }) => origin === 'api')
      const before = bytesOf({ ...given, groups, policies: api })
      const after = bytesOf({ ...given, groups, policies: [...api, ...theirs(own)] })
      for (const [cluster, bytes] of before) if (cluster !== qalpha) expect(after.get(cluster)).toBe(bytes)
    }),
    { numRuns: 150 },
  )
})

test('policy sources: compiled one after the other as each alone, whoever comes and goes', () => {
  const anyWide = fc.tuple(
    anyPolicies,
    fc.array(fc.option(fc.nat(3), { nil: undefined }), { minLength: 8, maxLength: 8 }),
  )
  const sourced = anyWide.map(([policies, since]) =>
    policies.map((one, at): TrafficPolicy => {
      const meshWide = since[at]
      return one.origin === 'api' || meshWide === undefined ? one : { ...one, meshWide }
    }),
  )
  fc.assert(
    fc.property(anyFleet, fc.array(sourced, { minLength: 2, maxLength: 4 }), anyGroups, (given, steps, groups) => {
      const compiler = newCompiler()
      for (const policies of steps) {
        const next = { ...given, groups, policies }
        const texts = [...compiler.compile(next)].map(([cluster, config]) => [
          cluster,
          canonicalJson([...entriesOf(config)]),
        ])
        expect(new Map(texts as [ClusterName, string][])).toEqual(bytesOf(next))
      }
    }),
    { numRuns: 60 },
  )
})

test('a capacity is of all callers: for a member’s own policy it is what that of the mesh says', () => {
  const given = fleet([member('a', [offer(reviews)]), member('b', [offer(reviews)]), member('c')])
  const [a, b] = [name('a'), name('b')]
  const policy = (origin: 'api' | ClusterName, requestsPerSecond: number, more = {}): TrafficPolicy => ({
    ...{ namespace: 'bookinfo', name: 'x', revision: 1, origin, ...more },
    spec: {
      services: { names: ['reviews'] },
      tiers: [{ targets: [{ cluster: a, capacity: { requestsPerSecond } }, { cluster: b }] }],
    },
  })
  const capacityAt = (cluster: string, policies: readonly TrafficPolicy[]) =>
    compile({ ...given, policies })
      .get(name(cluster))
      ?.imports.get(reviews)?.tiers[0]?.members[0]?.capacity
  const c = name('c')
  expect(capacityAt('c', [policy(c, 1)])).toBeUndefined()
  expect(capacityAt('c', [policy(c, 1), policy('api', 50)])).toEqual({ requestsPerSecond: 50 })
  expect(capacityAt('c', [policy(c, 1, { meshWide: 1, name: 'y' })])).toEqual({ requestsPerSecond: 1 })
})
