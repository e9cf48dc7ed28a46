import { describe, expect, test } from 'vitest'
import { fleet, member, name, names, offer, port, ratings, reviews } from '#mesh/compile/testdata/fleet.ts'
import { serviceKey } from '#mesh/model/id.ts'
import type { PolicyTier, TrafficPolicy, TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'
import { checkPolicy } from '#mesh/policy/check-policy.ts'
import { policyFactsOf } from '#mesh/policy/policy-facts.ts'
import { policyFor } from '#mesh/policy/rank-policies.ts'
import { compiledPolicy, settingsOf } from '#mesh/policy/settings-of-policy.ts'

const stream = offer(ratings, { ports: [port(5432, 'tcp')], sticky: true, labels: { app: 'ratings', tier: 'data' } })
const web = offer(reviews, { labels: { app: 'reviews' } })
const given = {
  ...fleet([
    member('east', [web, stream], { region: 'r1' }),
    member('west', [web, stream], { region: 'r1' }),
    member('north', [], { region: 'r2' }),
  ]),
  groups: [
    { name: 'prod', clusters: names('east', 'west'), revision: 1 },
    { name: 'empty', clusters: [], revision: 1 },
  ],
}
const policy = (spec: TrafficPolicySpec, called = 'one'): TrafficPolicy => ({
  ...{ namespace: 'bookinfo', name: called, revision: 1, origin: 'api', spec },
})
const to = (cluster: string, weight?: number) => ({
  cluster: name(cluster),
  ...(weight === undefined ? {} : { weight }),
})
const forReviews = (tiers: readonly PolicyTier[], more: Partial<TrafficPolicySpec> = {}) =>
  policy({ services: { names: ['reviews'] }, tiers, ...more })
const both = { targets: [to('east', 7), to('west', 3)] }
const check = (one: TrafficPolicy, others: readonly TrafficPolicy[] = []) =>
  checkPolicy(one, policyFactsOf(given, others))
const reasons = (one: TrafficPolicy, others?: readonly TrafficPolicy[]): string[] =>
  check(one, others).violations.map(({ path, reason }) => `${path}: ${reason}`)

describe('refused, each with its reason', () => {
  const forRatings = (more: Partial<TrafficPolicySpec>) => policy({ services: { names: ['ratings'] }, ...more })
  const cases: readonly [what: string, given: TrafficPolicy, reason: string][] = [
    [
      'a cluster that is none',
      forReviews([both, { targets: [to('atlantis')] }]),
      'tiers[1].targets[0]: cluster "atlantis" names nobody',
    ],
    ['a region without clusters', forReviews([both, { targets: [{ region: 'r9' }] }]), 'region "r9" names nobody'],
    [
      'a group that is none',
      forReviews([both, { targets: [{ group: 'test' }] }]),
      'group "test" names nobody: there is no such',
    ],
    [
      'a group without members',
      forReviews([both, { targets: [{ group: 'empty' }] }]),
      'none of its clusters is in this mesh',
    ],
    [
      'one target in two tiers',
      forReviews([both, { targets: [to('east')] }]),
      'tiers[1].targets[0]: cluster "east" stands at spec.tiers[0].targets[0]',
    ],
    [
      'weights of which one target exports it',
      forReviews([{ targets: [to('east', 7), to('north', 3)] }, { targets: [to('west')] }]),
      'weights cannot be met',
    ],
    ['one cluster in all tiers', forReviews([{ targets: [to('east')] }]), 'cannot fail over'],
    [
      'one exporter of several in all tiers',
      forReviews([{ targets: [to('east')] }, { targets: [{ region: 'r2' }] }]),
      'alone, and not west',
    ],
    ['sticky sessions spread by weight', forRatings({ tiers: [both] }), 'asks for sticky sessions'],
    [
      'retries of streams',
      forRatings({ retries: { attempts: 1 } }),
      'spec.retries: service bookinfo/ratings: carries streams',
    ],
    ['a time for requests of streams', forRatings({ timeouts: { requestSeconds: 1 } }), 'spec.timeouts.requestSeconds'],
    [
      'a probe of a port that nobody offers',
      forReviews([both], { probe: { kind: 'tcp', port: 9 } }),
      'spec.probe.port: service bookinfo/reviews: port 9 is not offered: it offers ',
    ],
    [
      'an http probe of a stream',
      forRatings({ probe: { kind: 'http', port: 5432 } }),
      'spec.probe.port: service bookinfo/ratings: port 5432 is a stream, which no http probe can ask',
    ],
    [
      'a grpc probe where all ports are streams',
      forRatings({ probe: { kind: 'grpc' } }),
      'spec.probe: service bookinfo/ratings: carries streams on all its ports',
    ],
    [
      'an ejection longer than the longest',
      forReviews([both], { ejection: { baseSeconds: 9, maxSeconds: 3 } }),
      'spec.ejection.baseSeconds',
    ],
    [
      'a try longer than its request',
      forReviews([both], { retries: { perTrySeconds: 9 }, timeouts: { requestSeconds: 3 } }),
      'spec.retries.perTrySeconds',
    ],
    [
      'no retry that is repeatable',
      forReviews([both], { retries: { attempts: 0, idempotent: true } }),
      'spec.retries.idempotent',
    ],
  ]
  test.each(cases)('%s', (_what, one, reason) => expect(reasons(one).join('\n')).toContain(reason))

  test('every reason at once', () => {
    const wrong = forReviews([{ targets: [to('atlantis'), { group: 'test' }] }], {
      ejection: { baseSeconds: 9, maxSeconds: 3 },
    })
    expect(reasons(wrong)).toHaveLength(3)
  })

  test('what does what it says is not', () => {
    expect(check(forReviews([both, { targets: [{ region: 'r2' }] }]))).toEqual({ violations: [], warnings: [] })
    expect(reasons(forReviews([{ targets: [to('east')] }], { unlisted: 'last' }))).toEqual([])
    expect(reasons(policy({ services: { names: ['ratings'] }, tiers: [{ ...both, prefer: 'own' }] }))).toEqual([])
  })
})

describe('ties', () => {
  const byLabel = (labels: Record<string, string>, called?: string) => policy({ services: { labels } }, called)
  test('equally specific for one service: refused, and the other is named', () => {
    const other = policy({ services: { names: ['ratings', 'reviews'] } }, 'other')
    expect(reasons(forReviews([both]), [other])).toEqual([
      'spec.services: selects service bookinfo/reviews exactly as policy bookinfo/other does, and neither would govern: ' +
        'make one of them more specific (names, labels, a namespace), or merge them',
    ])
    expect(reasons(byLabel({ app: 'ratings' }), [byLabel({ tier: 'data' }, 'other')])[0]).toContain('bookinfo/ratings')
    expect(reasons(policy({ services: {} }), [policy({ services: {} }, 'other')])[0]).toContain('exactly as policy')
  })
  test('more specific, another namespace, other values: no tie; labels that may meet later: a warning', () => {
    expect(reasons(forReviews([both]), [policy({ services: { namespace: 'bookinfo' } }, 'other')])).toEqual([])
    expect(
      reasons(forReviews([both]), [{ ...policy({ services: { names: ['reviews'] } }), namespace: 'shop' }]),
    ).toEqual([])
    expect(check(byLabel({ app: 'reviews' }), [byLabel({ app: 'ratings' }, 'other')]).warnings).toEqual([])
    const met = check(byLabel({ app: 'reviews' }), [byLabel({ tier: 'data' }, 'other')])
    expect([met.violations, met.warnings[0]]).toEqual([[], expect.stringContaining('a service with both would tie')])
  })
})

describe('a default is not refused for the services that it does not suit', () => {
  test('what it cannot do for some of many is a warning, and for all a refusal', () => {
    const mesh = check(policy({ services: {}, retries: { attempts: 1 } }))
    expect([mesh.violations, mesh.warnings]).toEqual([
      [],
      [expect.stringContaining('bookinfo/ratings: carries streams')],
    ])
    expect(reasons(policy({ services: { labels: { tier: 'data' } }, retries: { attempts: 1 } }))).toHaveLength(1)
  })
  test('but one that names one cluster alone is, though that is all that some of them have', () => {
    const only = {
      ...given,
      members: [...given.members, member('south', [offer(serviceKey('bookinfo', 'details'))], { region: 'r3' })],
    }
    const wide = policy({ services: {}, tiers: [{ targets: [to('east')] }] })
    const { violations } = checkPolicy(wide, policyFactsOf(only, []))
    expect(violations.map(({ reason }) => reason)).toEqual([expect.stringContaining('cannot fail over')])
  })
  test('what a less specific policy says beside it counts', () => {
    const one = forReviews([{ targets: [to('east')] }])
    const last = policy({ services: { namespace: 'bookinfo' }, unlisted: 'last' }, 'space')
    expect(reasons(one, [last])).toEqual([])
    expect(
      reasons(one, [{ ...last, namespace: 'shop', spec: { ...last.spec, services: { namespace: 'shop' } } }]),
    ).toHaveLength(1)
    const tiers = policy({ services: {}, tiers: [{ targets: [to('east')] }], unlisted: 'last' }, 'mesh')
    expect(reasons(policy({ services: { names: ['reviews'] }, unlisted: 'never' }), [tiers])).toEqual([
      expect.stringMatching(/^spec\.unlisted: .* cannot fail over: .* "east" alone, and not west/),
    ])
  })
  test('a service that nobody exports yet is a warning', () => {
    const early = check(policy({ services: { names: ['details'] }, tiers: [both] }))
    expect(early).toEqual({ violations: [], warnings: [expect.stringContaining('bookinfo/details (yet)')] })
  })
})

describe('probes', () => {
  const compiled = (one: TrafficPolicy, ports: Parameters<typeof compiledPolicy>[1]['ports']) =>
    compiledPolicy(one, { tierOf: [0], ports })
  const all = (probe: NonNullable<TrafficPolicySpec['probe']>) => policy({ services: {}, probe })
  const ports = [port(25, 'tcp'), port(70, 'grpc'), port(80, 'http')]
  test('are compiled with their port and defaults; without a probe there is no such field', () => {
    expect(compiled(all({ kind: 'http' }), ports).probe).toEqual({ kind: 'http', port: 80, path: '/', everyMs: 3000 })
    expect(compiled(all({ kind: 'grpc', everySeconds: 10 }), ports).probe).toEqual({
      ...{ kind: 'grpc', port: 70, everyMs: 10_000 },
    })
    expect(compiled(all({ kind: 'tcp' }), ports).probe?.port).toBe(25)
    expect(compiled(all({ kind: 'tcp', port: 80 }), ports).probe?.port).toBe(80)
    expect('probe' in compiled(policy({ services: {} }), ports)).toBe(false)
  })
  test('a default for many is none for those that it does not suit: a warning, and not compiled', () => {
    const { violations, warnings } = check(all({ kind: 'http', path: '/healthz' }))
    expect([violations, warnings]).toEqual([[], [expect.stringContaining('spec.probe: service bookinfo/ratings')]])
    expect('probe' in compiled(all({ kind: 'http' }), [port(5432, 'tcp')])).toBe(false)
  })
  test('a probe is one thing: a more specific policy’s is not filled from a less specific one', () => {
    const named = policy({ services: { names: ['reviews'] }, probe: { kind: 'tcp' } }, 'named')
    const merged = policyFor(reviews, {}, undefined, [named, all({ kind: 'http', path: '/healthz' })])
    expect(merged?.spec.probe).toEqual({ kind: 'tcp' })
  })
})

describe('which policy governs', () => {
  const spec = (services: TrafficPolicySpec['services'], keepUntilPercent?: number): TrafficPolicySpec => ({
    services,
    ...(keepUntilPercent === undefined ? {} : { keepUntilPercent }),
  })
  const mesh = policy({ ...spec({}, 10), retries: { attempts: 5, idempotent: true }, unlisted: 'last' }, 'mesh')
  const space = policy(spec({ namespace: 'bookinfo' }, 20), 'space')
  const label = policy(spec({ labels: { app: 'reviews' } }, 30), 'label')
  const labels = policy(spec({ labels: { app: 'reviews', v: '1' } }, 40), 'labels')
  const named = policy({ ...spec({ names: ['reviews'] }), retries: { attempts: 1 } }, 'named')
  const own: TrafficPolicy = { ...policy(spec({}, 90), 'own'), origin: name('east') }
  const governs = (all: readonly TrafficPolicy[], caller?: string) =>
    policyFor(reviews, { app: 'reviews', v: '1' }, caller === undefined ? undefined : name(caller), all)?.name

  test('names, then more labels, then labels, then the namespace, then the mesh; the callers’ own before all', () => {
    expect(governs([mesh, space, label, labels, named])).toBe('named')
    expect(governs([mesh, space, label, labels])).toBe('labels')
    expect(governs([mesh, space, label])).toBe('label')
    expect(governs([mesh, space])).toBe('space')
    expect(governs([mesh])).toBe('mesh')
    expect([governs([named, own], 'east'), governs([named, own], 'west')]).toEqual(['own', 'named'])
    expect(governs([policy({ services: { names: ['ratings'] } })])).toBeUndefined()
  })
  test('absent fields come from the next less specific one, settings one by one', () => {
    const merged = policyFor(reviews, {}, undefined, [mesh, space, named])
    expect(merged?.spec).toMatchObject({
      retries: { attempts: 1, idempotent: true },
      keepUntilPercent: 20,
      unlisted: 'last',
    })
    expect(merged && settingsOf(merged).overprovisioningFactor).toBe(500)
  })
  test('two times of an ejection that exclude each other: those of the less specific one give way', () => {
    const wide = policy({ services: {}, ejection: { afterFailures: 2, baseSeconds: 3, maxSeconds: 5 } }, 'mesh')
    const ruled = (ejection: NonNullable<TrafficPolicySpec['ejection']>) =>
      policyFor(reviews, {}, undefined, [wide, policy({ services: { names: ['reviews'] }, ejection })])
    expect(ruled({ baseSeconds: 10 })?.spec.ejection).toEqual({ afterFailures: 2, baseSeconds: 10 })
    expect(ruled({ maxSeconds: 2 })?.spec.ejection).toEqual({ afterFailures: 2, maxSeconds: 2 })
    expect(ruled({ baseSeconds: 4 })?.spec.ejection).toEqual({ afterFailures: 2, baseSeconds: 4, maxSeconds: 5 })
  })
  test('names without a namespace are of the policy’s own', () => {
    expect(policyFor(reviews, {}, undefined, [{ ...named, namespace: 'shop' }])).toBeUndefined()
  })
})
