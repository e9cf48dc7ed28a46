import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compile } from '#mesh/compile/compile.ts'
import type { Configs } from '#mesh/foresee/config-changes.ts'
import type { Demands } from '#mesh/foresee/demand.ts'
import { parseLost } from '#mesh/foresee/parse-lost.ts'
import { rehearse } from '#mesh/foresee/rehearse.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import { type ClusterName, parseClusterName, type ServiceKey } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'
import { fleetOf, gatewayOf, sightOf } from '#tests/support/foreseen-fleet.ts'

/** Four clusters, of which 1 to 3 offer `shop/svc-0`; cluster-0 and cluster-2 are in region-0, the others in region-1. */
const few = fleetOf({ clusters: 4, services: 1, exporters: 3, regions: 2, first: 1 })
const [a, b, c, d] = few.members.map(({ name }) => name) as [ClusterName, ClusterName, ClusterName, ClusterName]
const key = 'shop/svc-0' as ServiceKey

const withPolicy = (spec: Omit<TrafficPolicySpec, 'services'>): Fleet => ({
  ...few,
  policies: [
    { namespace: 'shop', name: 'svc-0', revision: 1, origin: 'api', spec: { services: { names: ['svc-0'] }, ...spec } },
  ],
})

const demandsOf = (...rates: readonly (readonly [ClusterName, number])[]): Demands =>
  new Map(
    rates.map(([cluster, requestsPerSecond]) => [cluster, new Map([[key, { requestsPerSecond, connections: 0 }]])]),
  )

function lose(
  fleet: Fleet,
  words: readonly string[],
  {
    ready = {},
    demands = new Map(),
    judged = new Map(),
  }: {
    readonly ready?: Readonly<Record<string, number>>
    readonly demands?: Demands
    readonly judged?: ReadonlyMap<ClusterName, ReadonlyMap<ClusterName, number>>
  } = {},
) {
  const configs: Configs = compile(fleet)
  const sight = { ...sightOf(fleet, (cluster) => ready[cluster] ?? 4), judged }
  return rehearse(configs, { sight, demands }, parseLost(words, { configs, gateways: sight.gateways }))
}

/** What becomes of the calls of one cluster: `moves: cluster-2 100`. */
function seenBy(caller: ClusterName, seen: ReturnType<typeof rehearse>): string {
  const row = seen.services.find(({ callers }) => callers.includes(caller))
  if (!row) return 'unchanged'
  return [`${row.verdict}:`, ...row.after.map(({ cluster, share }) => `${cluster} ${share * 100}`)].join(' ')
}

test('whom a relay takes for dead, or lets back by and by, gets no more of its callers than that', () => {
  const pair = withPolicy({
    tiers: [
      {
        targets: [
          { cluster: b, weight: 70 },
          { cluster: c, weight: 30 },
        ],
      },
    ],
  })
  const dead = new Map([[a, new Map([[c, 0]])]])
  // Others do not share its view: only callers of that relay would have nobody.
  const seen = lose(pair, [b], { judged: dead })
  expect([seenBy(a, seen), seenBy(d, seen), seen.worst]).toEqual(['lost:', 'moves: cluster-2 100', 'lost'])
  const row = (of: typeof seen) => of.services.find(({ callers }) => callers.includes(a))?.before
  expect(row(seen)).toEqual([{ cluster: b, share: 1 }])
  const returning = row(lose(pair, [b], { judged: new Map([[a, new Map([[c, 50]])]]) }))
  expect(returning).toEqual([
    { cluster: b, share: 0.85 },
    { cluster: c, share: 0.15 },
  ])
})

describe('what a loss would do', () => {
  const split = withPolicy({
    tiers: [
      {
        targets: [
          { cluster: b, weight: 70 },
          { cluster: c, weight: 30 },
        ],
      },
      { targets: [{ cluster: d, capacity: { requestsPerSecond: 100 } }] },
    ],
  })
  const stuck = withPolicy({ tiers: [{ targets: [{ cluster: b }] }], unlisted: 'never' })

  test.each([
    ['a cluster that nobody needs', few, [c], {}, 'moves: cluster-1 50 cluster-3 50'],
    [
      'half of a tier: what is left keeps its part, the rest goes on',
      split,
      [b],
      {},
      'moves: cluster-2 70 cluster-3 30',
    ],
    ['both of a tier', split, [b, c], {}, 'moves: cluster-3 100'],
    ['the last of a tier without another', stuck, [b], {}, 'lost:'],
    ['all that had a ready pod', few, [c], { ready: { [b]: 0, [d]: 0 } }, 'lost:'],
    ['what had no ready pod anyway', few, [d], { ready: { [d]: 0 } }, 'unchanged'],
    ['its only gateway', stuck, [gatewayOf(b)], {}, 'lost:'],
    ['a gateway of a cluster that is lost with it', split, [gatewayOf(b), b], {}, 'moves: cluster-2 70 cluster-3 30'],
  ] as const)('%s', (_, fleet, words, facts, expected) => {
    expect(seenBy(a, lose(fleet, words, facts))).toBe(expected)
  })

  test('callers in a lost cluster are not in the answer, and counts are of those that are left', () => {
    const { counts, services, worst, lost } = lose(stuck, ['region/region-1'])
    expect(lost.clusters).toEqual([b, d])
    expect([worst, counts]).toEqual(['lost', { unchanged: 0, moves: 0, degraded: 0, lost: 2 }])
    expect(services.map(({ callers }) => callers)).toEqual([[a, c]])
  })

  test('a capacity that the moved calls exceed: within it the rest goes on, where nobody has room they are degraded', () => {
    const demands = demandsOf([a, 80], [b, 0], [c, 80], [d, 0])
    const both = lose(split, [b, c], { demands: demandsOf([a, 80], [d, 0]) })
    expect([seenBy(a, both), both.overloads]).toEqual(['moves: cluster-3 100', []])
    const seen = lose(split, [b], { demands: new Map([...demands, ...demandsOf([a, 500])]) })
    // A tier that lost half of its pods keeps 70 % and gives away 30 %: of what two callers then ask, 100 are taken.
    expect(seen.overloads).toMatchObject([
      { service: key, cluster: d, capacity: 100, asked: expect.closeTo(174), given: 100 },
    ])
    const crowded = lose(split, [b, c], { demands: demandsOf([a, 500], [d, 0]) })
    expect(crowded.overloads).toMatchObject([{ cluster: d, asked: 500, given: 500 }])
    expect([crowded.worst, seenBy(a, crowded)]).toEqual(['degraded', 'degraded: cluster-3 100'])
  })

  test('a caller of which nothing is measured is named, and judged by its road alone', () => {
    const seen = lose(split, [b, c], { demands: demandsOf([d, 1]) })
    expect([seen.notMeasured, seen.worst, seen.overloads]).toEqual([[a], 'moves', []])
  })

  test('every word that names nothing, or two things, is refused at once; so is the loss of everybody', () => {
    const twin = { ...few, members: few.members.map((one) => (one.name === a ? { ...one, region: b } : one)) }
    const fault = (words: readonly string[]): readonly string[] => {
      try {
        lose(twin, words)
        return []
      } catch (error) {
        return error instanceof Problem ? error.violations.map(({ path, reason }) => `${path} ${reason}`) : []
      }
    }
    expect(fault(['atlantis', b, 'region/nowhere', `cluster/${b}`])).toEqual([
      expect.stringMatching(/^lose\[0\] "atlantis" is no cluster/),
      `lose[1] "${b}" is a cluster and a region: say cluster/${b} or region/${b}`,
      expect.stringMatching(/^lose\[2\] "region\/nowhere" is no/),
    ])
    expect(fault([`cluster/${a}`, `cluster/${b}`, c, d])).toEqual([expect.stringContaining('every cluster')])
    expect(fault([`region/${b}`])).toEqual([])
  })
})

test('whatever is lost: shares are 1 together and of nobody who is lost, and calls are lost where nobody ready is left', () => {
  const fleet = fleetOf({ clusters: 5, services: 3, exporters: 3, regions: 2 })
  const configs = compile(fleet)
  const names = fleet.members.map(({ name }) => name)
  const lists = { minLength: 1, maxLength: 4 }
  fc.assert(
    fc.property(fc.subarray(names, lists), fc.array(fc.nat(3), { minLength: 5, maxLength: 5 }), (gone, ready) => {
      const readyIn = (cluster: string): number => ready[names.indexOf(parseClusterName(cluster))] ?? 0
      const facts = { sight: sightOf(fleet, readyIn), demands: new Map() }
      const lost = { clusters: new Set(gone), gateways: new Map() }
      const { services, counts } = rehearse(configs, facts, lost)
      expect(Object.values(counts).reduce((sum, one) => sum + one)).toBe((5 - gone.length) * 3)
      for (const { service, callers, verdict, before, after } of services)
        for (const caller of callers) {
          const sources =
            configs
              .get(caller)
              ?.imports.get(service)
              ?.sources.map(({ cluster }) => cluster) ?? []
          const left = sources.filter((cluster) => readyIn(cluster) > 0 && !gone.includes(cluster))
          expect(verdict === 'lost').toBe(left.length === 0)
          expect(after.every(({ cluster }) => left.includes(cluster))).toBe(true)
          for (const shares of [before, after])
            if (shares.length > 0) expect(shares.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 2)
        }
    }),
    { numRuns: 60 },
  )
})
