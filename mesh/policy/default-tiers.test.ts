import { expect, test } from 'vitest'
import { parseClusterName } from '#mesh/model/id.ts'
import { defaultTiers, type Place } from '#mesh/policy/default-tiers.ts'

const at = (cluster: string, region: string): Place => ({ cluster: parseClusterName(cluster), region })
const shape = (home: Place, sources: Place[]): string =>
  defaultTiers(home, sources)
    .map((tier) => tier.members.map((m) => `${m.cluster}:${m.weight}`).join('+'))
    .join(' > ')

const cases: [name: string, home: Place, sources: Place[], tiers: string][] = [
  ['own, then region, then rest', at('a', 'r1'), [at('c', 'r2'), at('b', 'r1'), at('a', 'r1')], 'a:1 > b:1 > c:1'],
  ['a caller without the service starts at its region', at('a', 'r1'), [at('c', 'r2'), at('b', 'r1')], 'b:1 > c:1'],
  ['equals share a tier, by name', at('a', 'r1'), [at('d', 'r2'), at('c', 'r3'), at('b', 'r2')], 'b:1+c:1+d:1'],
  ['unknown regions are nobody’s neighbours', at('a', ''), [at('b', ''), at('a', ''), at('c', 'r1')], 'a:1 > b:1+c:1'],
  ['nobody offers it, no tier', at('a', 'r1'), [], ''],
]

test.each(cases)('%s', (_name, home, sources, tiers) => {
  expect(shape(home, sources)).toBe(tiers)
  expect(shape(home, sources.toReversed())).toBe(tiers)
})
