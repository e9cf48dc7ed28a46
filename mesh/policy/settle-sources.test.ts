import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseClusterName } from '#mesh/model/id.ts'
import type { SamenessGroup, TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { settledGroups, settledPolicies } from '#mesh/policy/settle-sources.ts'

const policy = (origin: string, meshWide?: number, name = 'x'): TrafficPolicy => ({
  ...{ namespace: 'shop', name, revision: 1, spec: { services: {} } },
  origin: origin === 'api' ? 'api' : parseClusterName(origin),
  ...(meshWide === undefined ? {} : { meshWide }),
})
const wide = (all: readonly TrafficPolicy[]): string[] =>
  settledPolicies(all)
    .items.filter(({ origin, meshWide }) => origin === 'api' || meshWide !== undefined)
    .map(({ origin, name }) => `${origin} ${name}`)

test('the operators’ stands, else the oldest, else the first by cluster; a member’s own takes nobody’s name', () => {
  expect(wide([policy('a', 1), policy('api')])).toEqual(['api x'])
  expect(wide([policy('a', 2), policy('b', 1)])).toEqual(['b x'])
  expect(wide([policy('b', 1), policy('a', 1)])).toEqual(['a x'])
  expect(wide([policy('b', 1), policy('a'), policy('c', 2, 'y')])).toEqual(['b x', 'c y'])
  expect(settledPolicies([policy('a', 1), policy('api')]).overruled.map(({ by }) => by)).toEqual([
    "the operator's own shop/x",
  ])
})

test('whatever the order: one of each name counts for all, the others go on for their own, what is not touched is the same', () => {
  const anyPolicy = fc
    .tuple(fc.constantFrom('api', 'a', 'b', 'c'), fc.option(fc.nat(3), { nil: undefined }), fc.constantFrom('x', 'y'))
    .map(([origin, since, name]) => policy(origin, origin === 'api' ? undefined : since, name))
  const anyList = fc.uniqueArray(anyPolicy, { selector: ({ origin, name }) => `${origin} ${name}`, maxLength: 6 })
  fc.assert(
    fc.property(anyList, fc.infiniteStream(fc.nat()), (all, order) => {
      const found = wide(all)
      expect(new Set(found.map((text) => text.split(' ')[1])).size).toBe(found.length)
      const shuffled = all.toSorted(() => (order.next().value % 2 === 0 ? 1 : -1))
      expect(wide(shuffled).toSorted()).toEqual(found.toSorted())
      const { items, overruled } = settledPolicies(all)
      expect(items).toHaveLength(all.length)
      for (const [at, one] of items.entries())
        if (!overruled.some((lost) => lost.one === all[at])) expect(one).toBe(all[at])
      expect(settledPolicies(all).items.every((one, at) => one === items[at])).toBe(true)
    }),
    { numRuns: 200 },
  )
})

test('of groups the operators’ stands, else the oldest', () => {
  const group = (cluster?: string, since = 0): SamenessGroup => ({
    ...{ name: 'prod', clusters: [], revision: 1 },
    ...(cluster === undefined ? {} : { from: { cluster: parseClusterName(cluster), since } }),
  })
  const [api, old, young] = [group(), group('b', 1), group('a', 2)]
  expect(settledGroups([young, old, api]).items).toEqual([api])
  expect(settledGroups([young, old]).items).toEqual([old])
  expect(settledGroups([young, old]).overruled).toEqual([{ one: young, by: 'prod of cluster b, which is older' }])
})
