import { expect, test } from 'vitest'
import type { Demands } from '#mesh/foresee/demand.ts'
import { planOf } from '#mesh/foresee/plan.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'
import { fleetOf, sightOf } from '#tests/support/foreseen-fleet.ts'

/** Four clusters, of which 1 to 3 offer `shop/svc-0`; 0 and 2 are in region-0, the others in region-1. */
const fleet = fleetOf({ clusters: 4, services: 1, exporters: 3, regions: 2, first: 1 })
const [a, b, c, d] = fleet.members.map(({ name }) => name) as [ClusterName, ClusterName, ClusterName, ClusterName]
const key = 'shop/svc-0' as ServiceKey

const withPolicy = (spec: Omit<TrafficPolicySpec, 'services'>): Fleet => ({
  ...fleet,
  policies: [
    { namespace: 'shop', name: 'svc-0', revision: 1, origin: 'api', spec: { services: { names: ['svc-0'] }, ...spec } },
  ],
})

const asking = (...rates: readonly (readonly [ClusterName, number])[]): Demands =>
  new Map(rates.map(([name, requestsPerSecond]) => [name, new Map([[key, { requestsPerSecond, connections: 0 }]])]))

function plan(
  after: Fleet,
  {
    before = fleet,
    demands = new Map() as Demands,
    ready = 4,
  }: { before?: Fleet; demands?: Demands; ready?: number } = {},
) {
  const sight = sightOf(fleet, (cluster) => (cluster === d ? ready : 4))
  return planOf(before, [{ wish: null, policies: 0, after }], { sight, demands })
}

const said = (after: Fleet, facts?: Parameters<typeof plan>[1]): readonly string[] =>
  plan(after, facts).warnings.map(({ kind, callers, message }) => `${kind} ${callers.join()}: ${message}`)

test('calls that would leave their region, by how much', () => {
  const far = withPolicy({ tiers: [{ targets: [{ region: 'region-1' }] }], unlisted: 'last' })
  expect(said(far)).toEqual([`region ${a},${c}: 100 % of the calls from region "region-0" would leave it (0 % before)`])
  expect(said(fleet, { before: far })).toEqual([])
})

test('a service that would have one cluster, or one tier, or nobody who is ready', () => {
  const only = said(withPolicy({ tiers: [{ targets: [{ cluster: c }] }] }))
  expect(only.filter((one) => one.startsWith('noFailover'))).toEqual([
    `noFailover ${a},${b},${c},${d}: cannot fail over: cluster "${c}" would be all that its tiers name`,
  ])
  const flat = said(
    withPolicy({
      tiers: [
        {
          targets: [
            { cluster: b, weight: 1 },
            { cluster: c, weight: 1 },
          ],
        },
      ],
    }),
  )
  expect(flat.filter((one) => one.startsWith('lastTier'))).toEqual([
    `lastTier ${a},${b},${c},${d}: would have no tier left below its first one: where ${b}, ${c} fail, nothing is`,
  ])
  const asleep = said(withPolicy({ tiers: [{ targets: [{ cluster: d }] }] }), { ready: 0 })
  expect(asleep.filter((one) => one.startsWith('nobody'))).toHaveLength(1)
})

test('nobody who offers it any more: the service could not be called', () => {
  const members = fleet.members.map((member) => ({ ...member, exports: new Map() }))
  expect(said({ ...fleet, members })).toEqual([
    expect.stringMatching(/^lastTier .*could not be called from there any more/),
  ])
})

test('a capacity is held against what all callers were measured to ask; without measures it says so', () => {
  const after = withPolicy({
    tiers: [
      { targets: [{ cluster: c, capacity: { requestsPerSecond: 100 } }] },
      { targets: [{ cluster: b }, { cluster: d }] },
    ],
  })
  const about = (demands: Demands) => said(after, { demands }).filter((one) => /^(capacity|notMeasured)/.test(one))
  expect(about(asking([a, 60], [b, 10], [c, 10], [d, 10]))).toEqual([])
  expect(about(asking([a, 260], [b, 10], [c, 10], [d, 10]))).toEqual([
    `capacity ${a},${b},${c},${d}: cluster "${c}" would be asked for 290 requests a second, and its capacity is 100: the rest goes elsewhere`,
  ])
  expect(about(asking([a, 60]))).toEqual([
    `notMeasured ${b},${c},${d}: its capacity is not checked against the calls of ${b}, ${c}, ${d}: not measured`,
  ])
})

test('shares are those that a capacity leaves, with the requests that were measured', () => {
  const after = withPolicy({
    tiers: [{ targets: [{ cluster: c, capacity: { requestsPerSecond: 100 } }] }, { targets: [{ cluster: b }] }],
    unlisted: 'last',
  })
  const { shares } = plan(after, { demands: asking([a, 200]) })
  expect(shares.find(({ callers }) => callers.includes(a))).toMatchObject({
    ...{ service: key, callers: [a], requestsPerSecond: 200, notMeasured: 0 },
    before: [{ cluster: c, share: 1 }],
  })
  expect(plan(after).shares.every(({ requestsPerSecond }) => requestsPerSecond === null)).toBe(true)
})
