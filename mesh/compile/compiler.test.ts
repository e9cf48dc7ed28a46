import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compile } from '#mesh/compile/compile.ts'
import { newCompiler } from '#mesh/compile/compiler.ts'
import { anyFleet, fleet, member, name, offer, partner, ratings, reviews } from '#mesh/compile/testdata/fleet.ts'
import { anyGroups, anyPolicies } from '#mesh/compile/testdata/policies.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import { parseNetworkName } from '#mesh/model/id.ts'
import type { TrafficPolicy, TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { clusterConfigHash, entriesOf, parseClusterConfig } from '#mesh/wire/cluster-config.ts'

const policy = (called: string, spec: TrafficPolicySpec, revision = 1): TrafficPolicy => ({
  ...{ namespace: 'bookinfo', name: called, revision, origin: 'api', spec },
})
const given = fleet([
  member('a', [offer(reviews), offer(ratings)]),
  member('b', [offer(reviews), offer(ratings)], { region: 'r2' }),
  member('c'),
])
const toB = policy('reviews', {
  services: { names: ['reviews'] },
  tiers: [{ targets: [{ region: 'r2' }] }],
  unlisted: 'last',
})

describe('what a change did not touch stays the same object', () => {
  test('a policy for one service: one service is compiled, and only its import is another', () => {
    const compiler = newCompiler()
    const before = compiler.compile(given)
    expect(compiler.work().services).toBe(2)
    const after = compiler.compile({ ...given, policies: [toB] })
    expect(compiler.work()).toMatchObject({ services: 1, configs: 3 })
    for (const cluster of ['a', 'b', 'c'].map(name)) {
      expect(after.get(cluster)?.imports.get(ratings)).toBe(before.get(cluster)?.imports.get(ratings))
      expect(after.get(cluster)?.trust).toBe(before.get(cluster)?.trust)
    }
    expect(after.get(name('c'))?.imports.get(reviews)?.tiers[0]?.members).toEqual([{ cluster: 'b', weight: 1 }])
  })

  test('the same fleet again, and a policy that says what was so before: no config is another', () => {
    const compiler = newCompiler()
    const first = compiler.compile({ ...given, policies: [toB] })
    const again = compiler.compile({ ...given, policies: [toB] })
    expect(compiler.work()).toEqual({ services: 0, imports: 0, configs: 0 })
    compiler.compile({ ...given, policies: [toB, policy('other', { services: { names: ['no-such'] } })] })
    expect(compiler.work()).toEqual({ services: 0, imports: 0, configs: 0 })
    expect([...again.values()].every((config) => first.get(config.cluster) === config)).toBe(true)
  })

  test('one export of one member: the other services stand', () => {
    const compiler = newCompiler()
    compiler.compile(given)
    const [a, ...rest] = given.members
    const exports = new Map([...(a?.exports ?? []), [reviews, offer(reviews, { serviceAccounts: ['next'] })]])
    compiler.compile({ ...given, members: [...(a ? [{ ...a, exports }] : []), ...rest] })
    expect(compiler.work().services).toBe(1)
  })

  test('a group grows: the services whose policy names it, and no others', () => {
    const grouped = policy('reviews', { services: { names: ['reviews'] }, tiers: [{ targets: [{ group: 'prod' }] }] })
    const groups = (...clusters: string[]) => [{ name: 'prod', clusters: clusters.map(name), revision: 1 }]
    const compiler = newCompiler()
    compiler.compile({ ...given, policies: [grouped], groups: groups('a') })
    const after = compiler.compile({ ...given, policies: [grouped], groups: groups('a', 'b') })
    expect(compiler.work().services).toBe(1)
    expect(
      after
        .get(name('c'))
        ?.imports.get(reviews)
        ?.tiers[0]?.members.map((m) => m.cluster),
    ).toEqual(['a', 'b'])
  })
})

test('a policy that the fleet left with one cluster, or with none: its callers are told', () => {
  const only = policy('reviews', { services: { names: ['reviews'] }, tiers: [{ targets: [{ region: 'r2' }] }] })
  const told = (one: Fleet) =>
    compile(one)
      .get(name('c'))
      ?.conditions.map(({ type, object }) => `${type} ${object}`)
  expect(told({ ...given, policies: [only] })).toEqual(['PolicyCannotFailOver service bookinfo/reviews'])
  expect(told({ ...given, policies: [toB] })).toEqual([])
  expect(told({ ...given, members: given.members.slice(1), policies: [only] })).toEqual([])
  const left = [...given.members.slice(0, 1), ...given.members.slice(2)]
  expect(told({ ...given, members: left, policies: [only] })).toEqual(['PolicyNamesNobody service bookinfo/reviews'])
})

type Parts = Omit<Fleet, 'mesh' | 'roots'>

/** One fleet after the other; what does not change between two is the same object, as a centre loads it. */
const anySequence: fc.Arbitrary<readonly Fleet[]> = fc
  .tuple(anyFleet, fc.array(anyChange(), { minLength: 1, maxLength: 4 }))
  .map(([first, changes]) => {
    const all = [first]
    for (const change of changes) all.push({ ...(all.at(-1) ?? first), ...change(all.at(-1) ?? first) })
    return all
  })

function anyChange(): fc.Arbitrary<(before: Fleet) => Partial<Parts>> {
  const key = fc.constantFrom('zsvcone', 'zsvctwo').map((svc) => `shop/${svc}` as typeof reviews)
  const cluster = fc.constantFrom('qalpha', 'qbravo').map(name)
  return fc.oneof(
    anyPolicies.map((policies) => () => ({ policies })),
    anyPolicies.map((more) => ({ policies = [] }: Fleet) => ({
      policies: [...policies.slice(1), ...more.slice(0, 1)],
    })),
    anyGroups.map((groups) => () => ({ groups })),
    anyFleet.map((other) => ({ members }: Fleet) => ({ members: [...other.members.slice(0, 1), ...members.slice(1)] })),
    anyFleet.map((other) => () => ({ members: other.members })),
    anyFleet.map(({ narrowings }) => () => ({ narrowings })),
    fc.constantFrom([], [partner]).map((foreign) => () => ({ foreign })),
    fc.constantFrom<Partial<Member>>({ shared: true }, { network: parseNetworkName('other') }, { generation: 2 }).map(
      (more) =>
        ({ members: [first, ...rest] }: Fleet) =>
          first ? { members: [{ ...first, ...more }, ...rest] } : {},
    ),
    fc
      .record({
        key,
        cluster,
        percent: fc.integer({ min: 0, max: 100 }),
        closing: fc.constantFrom([true as const], []),
      })
      .map(({ closing: [closing], ...drain }) => ({ ...drain, ...(closing ? { closing } : {}) }))
      .map((drain) => () => ({ serviceDrains: [drain] })),
    fc.record({ key, cluster, cut: fc.integer({ min: 1, max: 9 }) }).map((one) => () => ({
      cuts: [
        { cut: one.cut, exports: new Set([`${one.cluster}/${one.key}`]), callers: new Set([`${one.cluster}:80`]) },
      ],
    })),
  )
}

const hashOf = clusterConfigHash
const bytes = (config: ClusterConfig): string => canonicalJson([...entriesOf(config)])

describe('whatever changes came before', () => {
  test('the configs are those that a compiler without a memory gives', () => {
    fc.assert(
      fc.property(anySequence, (fleets) => {
        const compiler = newCompiler()
        let before: ReturnType<typeof compile> | undefined
        for (const one of fleets) {
          const configs = compiler.compile(one)
          const hashes = [...configs].map(([cluster, config]) => hashOf(entriesOf(config, before?.get(cluster))))
          expect(hashes).toEqual([...compile(one).values()].map((config) => hashOf(entriesOf(config))))
          before = configs
        }
        const last = fleets.at(-1)
        if (last) expect([...(before?.values() ?? [])].map(bytes)).toEqual([...compile(last).values()].map(bytes))
      }),
      { numRuns: 300 },
    )
  })

  const one = offer(reviews, { consumers: ['b', 'spiffe://partner.example'] })
  const trustDomain = parseTrustDomain('one.mesh1')
  const base = fleet([
    member('a', [one, offer(ratings)], { trustDomain }),
    member('b', [offer(reviews)]),
    member('c', [], { trustDomain }),
  ])
  const changed = (at: number, more: Partial<Member>): Fleet => ({
    ...base,
    members: base.members.map((one, n) => (n === at ? { ...one, ...more } : one)),
  })
  test.each<[fact: string, after: Fleet, before?: Fleet]>([
    ['another mesh is federated', { ...base, foreign: [partner] }],
    ['another mesh is taken out', base, { ...base, foreign: [partner] }],
    ['a trust domain is shared', changed(2, { shared: true })],
    ['a service is refused', changed(1, { refused: new Set([reviews]) })],
    ['a service is not refused any more', base, changed(1, { refused: new Set([reviews]) })],
    ['a part of a report is set aside', changed(1, { setAside: [{ key: 'x', reason: 'y' }] })],
    ['a network is one of two now', changed(1, { network: member('a').network })],
    ['a CA is to be replaced', changed(1, { issuingBefore: 5 })],
    ['a region', changed(1, { region: 'far' })],
    ['a list of consumers', { ...base, narrowings: [{ key: ratings, consumers: ['b'] }] }],
    ['a cut', { ...base, cuts: [{ cut: 3, exports: new Set([`a/${reviews}`]), callers: new Set(['b:80']) }] }],
  ])('%s, and nothing else: no memory hides it', (_fact, after, before = base) => {
    const compiler = newCompiler()
    const first = [...compiler.compile(before).values()].map(bytes)
    const next = [...compiler.compile(after).values()].map(bytes)
    expect(next).toEqual([...compile(after).values()].map(bytes))
    expect(next).not.toEqual(first)
  })

  test('every policy and group of a fleet travels and is read back', () => {
    fc.assert(
      fc.property(anyFleet, anyPolicies, anyGroups, (one, policies, groups) => {
        for (const config of compile({ ...one, policies, groups }).values())
          expect(parseClusterConfig(new Map(JSON.parse(JSON.stringify([...entriesOf(config)]))))).toEqual(config)
      }),
    )
  })
})
