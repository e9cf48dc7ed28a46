import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressKey } from '#mesh/model/address.ts'
import type { Source } from '#mesh/model/cluster-config.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import { serviceKey } from '#mesh/model/id.ts'
import type { FlatEndpoint } from '#mesh/model/summary.ts'
import { callablesOf } from '#mesh/translate/callable.ts'
import { createMemo } from '#mesh/translate/memo.ts'
import { caseOf } from '#mesh/translate/testdata/case.ts'
import { type Share, tiersOf } from '#mesh/translate/tiers.ts'

const cart = serviceKey('shop', 'cart')

type Said = {
  readonly flat?: readonly Partial<FlatEndpoint>[]
  readonly gateways?: readonly Partial<Gateway>[]
  readonly since?: number
}

/** The tiers of one service for cluster a, all sources on its network; `said` by source cluster. */
function tiers(
  said: Readonly<Record<string, Said>>,
  {
    order = [Object.fromEntries(Object.keys(said).map((name) => [name, 1]))],
    own = [],
  }: { readonly order?: readonly Readonly<Record<string, number>>[]; readonly own?: readonly string[] } = {},
): readonly (readonly Share[])[] {
  const names = Object.keys(said)
  const isOwn = own.length > 0
  const { view } = caseOf({
    ...{ cluster: 'a', region: 'r1', network: 'lan' },
    services: isOwn ? { 'shop/cart': { ports: ['http 80 http'] } } : {},
    pods: Object.fromEntries(
      own.map((ip, n) => [`shop/cart-${n}`, { ip, account: 'cart', behind: { 'shop/cart': { http: 8080 } } }]),
    ),
    exports: isOwn ? ['shop/cart'] : [],
    config: {
      members: ['a', ...names],
      imports: {
        'shop/cart': {
          ports: ['http 80 http'],
          sources: [...(isOwn ? ['a lan r1 cart'] : []), ...names.map((name) => `${name} lan r1 cart`)],
          tiers: isOwn ? [{ a: 1 }, ...order] : order,
        },
      },
    },
    proxy: { id: 'sidecar~10.0.0.1~x.shop~shop.svc.cluster.local', account: 'x', metadata: {} },
  })
  const counts = [{ port: 80, region: 'r1', zone: '', ready: 1, total: 1 }]
  const services = Object.entries(said).map(([name, { flat }]) => {
    const whole = flat?.map((one) => ({
      ...{ address: '10.0.0.1', port: 8080, servicePort: 80, region: 'r1', zone: '', draining: false },
      ...one,
    }))
    return [name, new Map([[cart, { counts, ...(whole ? { flat: whole } : {}) }]])] as const
  })
  const gateways = Object.entries(said).map(([name, one]) => {
    const list = (one.gateways ?? []).map((g) => ({ address: '10.0.0.1', port: 8080, state: 'ready' as const, ...g }))
    return [name, { gateways: list }] as const
  })
  const [callable] = callablesOf(view, createMemo())
  if (!callable?.road) throw new Error('nothing federated to call')
  const aged = (source: Source): Source => {
    const since = said[source.cluster]?.since
    return since === undefined ? source : { ...source, since }
  }
  const heard = { ...view, summaries: { services: new Map(services), gateways: new Map(gateways) } }
  return tiersOf(heard, { ...callable.road, sources: callable.road.sources.map(aged) }, callable.port)
}

/** `b 10.0.0.1:8080` */
const hostsOf = (found: readonly (readonly Share[])[]): string[] =>
  found.flat().flatMap(({ cluster, hosts }) => hosts.map((host) => `${cluster} ${addressKey(host)}`))

describe('one address, two clusters', () => {
  const pods = (...ends: readonly [number, number?][]) => ({
    flat: ends.map(([end, since]) => ({ address: `10.0.0.${end}`, ...(since === undefined ? {} : { since }) })),
  })

  test('who claimed it first has it, the other keeps the rest', () => {
    expect(hostsOf(tiers({ b: pods([1, 20], [2, 20]), c: pods([1, 10], [3, 10]) }))).toEqual([
      'b 10.0.0.2:8080',
      'c 10.0.0.1:8080',
      'c 10.0.0.3:8080',
    ])
  })

  test('a claim without an age is as old as the export; of unknown age the youngest; between equals the name decides', () => {
    expect(hostsOf(tiers({ b: pods([1, 20]), c: { ...pods([1]), since: 10 } }))).toEqual(['c 10.0.0.1:8080'])
    expect(hostsOf(tiers({ b: pods([1]), c: pods([1, 20]) }))).toEqual(['c 10.0.0.1:8080'])
    expect(hostsOf(tiers({ c: pods([1, 20]), b: pods([1, 20]) }))).toEqual(['b 10.0.0.1:8080'])
  })

  test('an own pod is the own cluster’s, however old another’s claim', () => {
    expect(hostsOf(tiers({ b: pods([1, 0], [2, 0]) }, { own: ['10.0.0.1'] }))).toEqual([
      'a 10.0.0.1:8080',
      'b 10.0.0.2:8080',
    ])
  })

  test('who lost all its pods is reached through its gateways', () => {
    const b = { ...pods([1, 20]), gateways: [{ address: '10.9.0.1', port: 15443, since: 5 }] }
    expect(hostsOf(tiers({ b, c: pods([1, 10]) }))).toEqual(['b 10.9.0.1:15443', 'c 10.0.0.1:8080'])
  })

  test('pods of one are not taken as gateways of another, nor gateways as pods', () => {
    const thief = { gateways: [{ address: '10.0.0.1', since: 20 }] }
    expect(hostsOf(tiers({ b: thief, c: pods([1, 10]) }))).toEqual(['c 10.0.0.1:8080'])
    const c = { gateways: [{ address: '10.0.0.1', since: 10 }] }
    expect(hostsOf(tiers({ b: pods([1, 20], [2, 20]), c }))).toEqual(['b 10.0.0.2:8080', 'c 10.0.0.1:8080'])
  })

  test('spelled otherwise it is the same address', () => {
    const flat = (address: string, since: number) => ({ flat: [{ address, since }] })
    expect(hostsOf(tiers({ b: flat('fd00:0::1', 20), c: flat('fd00::1', 10) }))).toEqual(['c fd00::1:8080'])
    expect(hostsOf(tiers({ b: flat('::ffff:a00:1', 20), c: flat('10.0.0.1', 10) }))).toEqual(['c 10.0.0.1:8080'])
  })

  test('of one cluster’s own two the one that serves', () => {
    const [[share] = []] = tiers({ b: { flat: [{ draining: true }, { draining: false }, { draining: true }] } })
    expect(share?.hosts.map(({ health }) => health)).toEqual(['HEALTHY'])
  })
})

const anyAddress = fc.record({
  address: fc.constantFrom('10.0.0.1', '10.0.0.2', '::ffff:10.0.0.1', 'fd00::1', 'FD00:0::1', 'no-address'),
  port: fc.constantFrom(8080, 8081),
})
const anyClaim = (since: fc.Arbitrary<number | undefined>) =>
  fc.tuple(anyAddress, since).map(([one, at]) => ({ ...one, ...(at === undefined ? {} : { since: at }) }))
const anySaid = (since: fc.Arbitrary<number | undefined>, draining = fc.boolean()): fc.Arbitrary<Said> =>
  fc.record(
    {
      flat: fc.array(
        fc.tuple(anyClaim(since), draining).map(([one, ends]) => ({ ...one, draining: ends })),
        { maxLength: 5 },
      ),
      gateways: fc.array(anyClaim(since), { maxLength: 3 }),
    },
    { requiredKeys: [] },
  )
const anyAge = fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined })
const anyOrder = fc.array(
  fc.dictionary(fc.constantFrom('b', 'c', 'd'), fc.integer({ min: 1, max: 3 }), { minKeys: 1 }),
  { minLength: 1, maxLength: 3 },
)
const anyOwn = fc.subarray(['10.0.0.1', '10.0.0.2', 'fd00::1'])

describe('whatever others say', () => {
  test('no address and port is there twice, and the order of what was said does not matter', () => {
    fc.assert(
      fc.property(
        fc.record({ b: anySaid(anyAge), c: anySaid(anyAge), d: anySaid(anyAge) }),
        anyOrder,
        anyOwn,
        (said, order, own) => {
          const found = tiers(said, { order, own })
          const keys = found.flat().flatMap(({ hosts }) => hosts.map(addressKey))
          expect(keys).toEqual([...new Set(keys)])
          const turned = Object.fromEntries(
            Object.entries(said)
              .toReversed()
              .map(([name, one]) => [name, { ...one, flat: one.flat?.toReversed() }] as const)
              .map(([name, { flat, ...one }]) => [name, { ...one, ...(flat ? { flat } : {}) }]),
          )
          expect(hostsOf(tiers(turned, { order, own })).toSorted()).toEqual(hostsOf(found).toSorted())
        },
      ),
      { numRuns: 300 },
    )
  })

  test('who comes later takes nothing from those who were there', () => {
    // All of them ready: where a cluster has nobody who takes calls, another that has goes before it, and rightly so.
    const known = anySaid(fc.integer({ min: 0, max: 3 }), fc.constant(false))
    fc.assert(
      fc.property(known, known, anySaid(fc.constant(4)), anyOwn, (b, c, newcomer, own) => {
        const before = hostsOf(tiers({ b, c }, { own }))
        for (const name of ['aa', 'd']) {
          const after = hostsOf(tiers({ b, c, [name]: newcomer }, { own, order: [{ b: 1, c: 1, [name]: 1 }] }))
          expect(after.filter((host) => !host.startsWith(`${name} `))).toEqual(before)
        }
      }),
      { numRuns: 300 },
    )
  })
})
