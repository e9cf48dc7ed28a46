import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { anyGroups, anyTiers } from '#mesh/compile/testdata/policies.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import type { PolicyTier } from '#mesh/model/traffic-policy.ts'
import type { Place } from '#mesh/policy/default-tiers.ts'
import { groupsOf, policyTiers, seatOf } from '#mesh/policy/tiers-of-policy.ts'

const at = (cluster: string, region: string): Place => ({ cluster: parseClusterName(cluster), region })
const to = (cluster: string, more: object = {}) => ({ cluster: parseClusterName(cluster), ...more })
const home = at('a', 'r1')
const sources = [at('a', 'r1'), at('b', 'r1'), at('c', 'r2'), at('d', 'r2')]
const groups = groupsOf([{ name: 'prod', clusters: ['b', 'c'].map(parseClusterName), revision: 1 }])

function shape(tiers: readonly PolicyTier[], unlisted?: 'last', who = home): string {
  const found = policyTiers(who, sources, { tiers, ...(unlisted ? { unlisted } : {}) }, groups)
  return (found?.tiers ?? [])
    .map(({ members }, n) => `${found?.tierOf[n]}:${members.map((m) => m.cluster + m.weight).join('+')}`)
    .join(' > ')
}

describe('tiers as they are written', () => {
  const cases: readonly [name: string, got: string, wanted: string][] = [
    [
      'weights are exact, whoever calls',
      shape([{ targets: [to('a', { weight: 70 }), to('b', { weight: 30 })] }]),
      '0:a70+b30',
    ],
    ['without weights the own cluster goes first', shape([{ targets: [to('b'), to('a')] }]), '0:a1 > 0:b1'],
    [
      'for region the neighbours come second',
      shape([{ targets: [{ region: 'r1' }, { region: 'r2' }], prefer: 'region' }]),
      '0:a1 > 0:b1 > 0:c1+d1',
    ],
    [
      'a target’s weight is divided among its clusters',
      shape([{ targets: [to('a', { weight: 1 }), { region: 'r2', weight: 1 }] }]),
      '0:a2+c1+d1',
    ],
    [
      'what is named itself is not where its region is',
      shape([{ targets: [{ region: 'r2' }] }, { targets: [to('c')] }]),
      '0:d1 > 1:c1',
    ],
    [
      'a group goes before a region',
      shape([{ targets: [{ region: 'r2' }] }, { targets: [{ group: 'prod' }] }]),
      '0:d1 > 1:b1+c1',
    ],
    ['of two regions the first', shape([{ targets: [{ region: 'r2' }] }, { targets: [{ region: 'r2' }] }]), '0:c1+d1'],
    [
      'unlisted ones come last, in the default order',
      shape([{ targets: [to('d')] }], 'last'),
      '0:d1 > 1:a1 > 1:b1 > 1:c1',
    ],
    ['nobody who is there', shape([{ targets: [{ region: 'r9' }] }]), ''],
  ]
  test.each(cases)('%s', (_name, got, wanted) => expect(got).toBe(wanted))

  test('a thousand targets are gone through once, not for each exporter; other groups are looked at anew', () => {
    let reads = 0
    const regions = Array.from({ length: 1000 }, (_, n) => ({ region: `far-${n}` }))
    const tiers: readonly PolicyTier[] = [
      {
        get targets() {
          reads += 1
          return [...regions, { group: 'prod' }]
        },
      },
    ]
    for (const place of [...sources, ...sources])
      expect(seatOf(place, tiers, groups)?.tier).toBe('bc'.includes(place.cluster) ? 0 : undefined)
    expect(reads).toBe(1)
    expect(seatOf(sources[1] ?? home, tiers, groupsOf([]))).toBeUndefined()
  })

  test('no tiers: the default order, each its own tier', () => {
    expect(policyTiers(home, sources, {}, groups)).toMatchObject({ tierOf: [0, 1, 2] })
  })

  test('a capacity is of each cluster that the target stands for', () => {
    const capacity = { requestsPerSecond: 5 }
    const found = policyTiers(home, sources, { tiers: [{ targets: [{ region: 'r2', capacity }] }] }, groups)
    expect(found?.tiers[0]?.members.map((m) => m.capacity)).toEqual([capacity, capacity])
  })
})

describe('whatever is written', () => {
  const anyPlaces = fc.array(
    fc.record({
      cluster: fc.constantFrom('qalpha', 'qbravo', 'qcharly', 'qdelta', 'qecho', 'qfoxtrot').map(parseClusterName),
      region: fc.constantFrom('', 'r1', 'r2'),
    }),
    { minLength: 1, maxLength: 6 },
  )
  const distinct = anyPlaces.map((all) => [...new Map(all.map((one) => [one.cluster, one])).values()])

  test('each listed exporter is in exactly one tier, in the order as written, with a weight Envoy takes', () => {
    fc.assert(
      fc.property(
        distinct,
        anyTiers,
        anyGroups,
        fc.constantFrom('never' as const, 'last' as const),
        (places, tiers, all, unlisted) => {
          const [caller] = places
          if (!caller) return
          const known = groupsOf(all)
          const listed = places.filter((place) => seatOf(place, tiers, known))
          const found = policyTiers(caller, places, { tiers, unlisted }, known)
          const members = (found?.tiers ?? []).flatMap((tier) => tier.members)
          const wanted = unlisted === 'last' ? places : listed
          expect(members.map((m) => m.cluster).toSorted()).toEqual(wanted.map((one) => one.cluster).toSorted())
          expect(found?.tierOf ?? []).toEqual((found?.tierOf ?? []).toSorted((a, b) => a - b))
          for (const { members: some } of found?.tiers ?? []) expect(some.length).toBeGreaterThan(0)
          for (const { weight } of members) expect(Number.isInteger(weight) && weight >= 1 && weight <= 1000).toBe(true)
        },
      ),
    )
  })

  test('a cluster that joins a region or a group is in its tier without an edit, and nobody else changes tiers', () => {
    fc.assert(
      fc.property(distinct, anyTiers, anyGroups, (places, tiers, all) => {
        const known = groupsOf(all)
        const [joiner, ...others] = places
        const [caller] = others
        if (!joiner || !caller) return
        const tierBy = (some: readonly Place[]) => {
          const found = policyTiers(caller, some, { tiers, unlisted: 'last' }, known)
          return new Map(found?.tiers.flatMap(({ members }, n) => members.map((m) => [m.cluster, found.tierOf[n]])))
        }
        const [before, after] = [tierBy(others), tierBy(places)]
        expect(after.get(joiner.cluster)).toBe(seatOf(joiner, tiers, known)?.tier ?? tiers.length)
        for (const { cluster } of others) expect(after.get(cluster)).toBe(before.get(cluster))
      }),
    )
  })
})
