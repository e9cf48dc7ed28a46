import { describe, expect, test } from 'vitest'
import type { SourceDrain } from '#mesh/model/cluster-config.ts'
import { callablesOf } from '#mesh/translate/callable.ts'
import { createMemo } from '#mesh/translate/memo.ts'
import { type CaseText, caseOf } from '#mesh/translate/testdata/case.ts'
import { tiersOf } from '#mesh/translate/tiers.ts'

type Source = {
  readonly gateways?: readonly string[]
  readonly counts?: string
  readonly flat?: readonly string[]
  readonly network?: string
}

/** The tiers of one service as text: `b/r1 ×70 [127.22.0.2:15443 ×3 down]`. */
function tiers(
  sources: Readonly<Record<string, Source>>,
  order: readonly Readonly<Record<string, number>>[],
  pods: CaseText['pods'] = {},
  more: Pick<CaseText, 'traffic'> & { readonly policy?: object; readonly drains?: readonly SourceDrain[] } = {},
): string[][] {
  const own = Object.keys(pods).length > 0
  const { traffic, policy, drains } = more
  const { view } = caseOf({
    cluster: 'a',
    region: 'r1',
    network: 'lan',
    services: own ? { 'shop/cart': { ports: ['http 80 http'] } } : {},
    pods,
    exports: own ? ['shop/cart'] : [],
    config: {
      members: ['a', ...Object.keys(sources)],
      imports: {
        'shop/cart': {
          ports: ['http 80 http'],
          sources: [
            ...(own ? ['a lan r1 cart'] : []),
            ...Object.entries(sources).map(([c, s]) => `${c} ${s.network ?? `net-${c}`} r2 cart`),
          ],
          tiers: order,
          ...(policy ? { policy } : {}),
          ...(drains ? { drains } : {}),
        },
      },
    },
    summaries: Object.fromEntries(
      Object.entries(sources).map(([c, s]) => [
        c,
        {
          ...(s.gateways ? { gateways: s.gateways } : {}),
          ...(s.counts === undefined
            ? {}
            : {
                services: {
                  'shop/cart': { counts: s.counts ? [`80 r2/ ${s.counts}`] : [], ...(s.flat ? { flat: s.flat } : {}) },
                },
              }),
        },
      ]),
    ),
    ...(traffic ? { traffic } : {}),
    proxy: { id: 'sidecar~10.0.0.1~x.shop~shop.svc.cluster.local', account: 'x', metadata: {} },
  })
  const [callable] = callablesOf(view, createMemo())
  if (!callable?.road) throw new Error('nothing federated to call')
  return tiersOf(view, callable.road, callable.port).map((shares) =>
    shares.map((s) => {
      const hosts = s.hosts.map(
        (h) =>
          `${h.address}:${h.port} ×${h.weight}${h.health === 'HEALTHY' ? '' : ` ${h.health}`}${h.meshed ? '' : ' plain'}`,
      )
      return `${s.cluster}/${s.region} ×${s.weight} [${hosts.join(', ')}]`
    }),
  )
}

const pod = (ip: string, more: object = {}) => ({
  ip,
  account: 'cart',
  behind: { 'shop/cart': { http: 8080 } },
  ...more,
})
const gw = (n: number) => `127.22.0.${n}:15443`

describe('endpoint weights count the pods behind a host', () => {
  test('L is the least common multiple of the gateway counts', () => {
    expect(
      tiers(
        { b: { gateways: [gw(1), gw(2)], counts: '5/5' }, c: { gateways: [gw(3), gw(4), gw(5)], counts: '2/2' } },
        [{ a: 1 }, { b: 1 }, { c: 1 }],
        { 'shop/cart-1': pod('127.21.1.1') },
      ),
    ).toEqual([
      ['a/r1 ×1 [127.21.1.1:8080 ×6]'],
      ['b/r2 ×1 [127.22.0.1:15443 ×15, 127.22.0.2:15443 ×15]'],
      ['c/r2 ×1 [127.22.0.3:15443 ×4, 127.22.0.4:15443 ×4, 127.22.0.5:15443 ×4]'],
    ])
  })

  test('any number of gateways and pods stays within Envoy’s 32 bits', () => {
    const many = (n: number, net: number) => Array.from({ length: n }, (_, i) => `127.${net}.0.${i + 1}:15443`)
    const found = tiers(
      {
        b: { gateways: many(61, 1), counts: '1000000/1000000' },
        c: { gateways: many(59, 2), counts: '1/1' },
        d: { gateways: many(64, 3), counts: '3/3' },
      },
      [{ b: 1, c: 1, d: 1 }],
    )
    const weights = found.flat().map((s) => [...s.matchAll(/15443 ×(\d+)/g)].map((m) => Number(m[1])))
    for (const list of weights) {
      expect(list.every((w) => Number.isInteger(w) && w >= 1)).toBe(true)
      expect(list.reduce((a, b) => a + b, 0)).toBeLessThan(2 ** 32)
    }
  })
})

describe('shares of a tier', () => {
  const two = (b: string, c: string, weights = { b: 70, c: 30 }) =>
    tiers({ b: { gateways: [gw(1)], counts: b }, c: { gateways: [gw(2)], counts: c } }, [weights]).map((t) =>
      t.map((s) => s.replace(/ \[.*/, '')),
    )
  test.each([
    ['all ready: as the policy says', '2/2', '3/3', [['b/r2 ×70', 'c/r2 ×30']]],
    ['half of one: half its share', '2/4', '3/3', [['b/r2 ×35', 'c/r2 ×30']]],
    ['odd parts: in proportion', '2/3', '3/3', [['b/r2 ×10000', 'c/r2 ×6429']]],
    ['none of one: left out', '0/4', '3/3', [['c/r2 ×1']]],
    ['none at all: both stay', '0/4', '0/3', [['b/r2 ×70', 'c/r2 ×30']]],
  ])('%s', (_, b, c, expected) => expect(two(b, c)).toEqual(expected))
})

describe('who is dialled', () => {
  test('not ready: never; draining: marked; without a proxy: plaintext', () => {
    expect(
      tiers({}, [{ a: 1 }], {
        'shop/cart-1': pod('127.21.1.1'),
        'shop/cart-2': pod('127.21.1.2', { health: 'not-ready' }),
        'shop/cart-3': pod('127.21.1.3', { health: 'draining' }),
        'shop/cart-4': pod('127.21.1.4', { plain: true }),
      }),
    ).toEqual([['a/r1 ×1 [127.21.1.1:8080 ×1, 127.21.1.3:8080 ×1 DRAINING, 127.21.1.4:8080 ×1 plain]']])
  })

  test('unheard of: through its gateways; heard to be empty: not', () => {
    expect(tiers({ b: { gateways: [gw(1)] }, c: { gateways: [gw(2)], counts: '' } }, [{ c: 1 }, { b: 1 }])).toEqual([
      ['b/r2 ×1 [127.22.0.1:15443 ×1]'],
    ])
  })

  test('no gateway known: no road', () => {
    expect(tiers({ b: { counts: '2/2' }, c: { gateways: [gw(2)], counts: '1/1' } }, [{ b: 1 }, { c: 1 }])).toEqual([
      ['c/r2 ×1 [127.22.0.2:15443 ×1]'],
    ])
  })

  test('a gateway that is down comes last and its mates carry its pods; one of unknown state is dialled', () => {
    const gateways = [`${gw(1)} down`, `${gw(2)} unknown`, gw(3)]
    expect(
      tiers({ b: { gateways, counts: '4/4' }, c: { gateways: [gw(4)], counts: '1/1' } }, [{ b: 1 }, { c: 1 }]),
    ).toEqual([
      ['b/r2 ×1 [127.22.0.2:15443 ×4 UNKNOWN, 127.22.0.3:15443 ×4]'],
      ['c/r2 ×1 [127.22.0.4:15443 ×2]'],
      ['b/r2 ×1 [127.22.0.1:15443 ×1 UNHEALTHY]'],
    ])
  })

  test('a cluster whose gateways are all down stays in its place: others are preferred, and it is the last resort', () => {
    const down = { gateways: [`${gw(1)} down`], counts: '4/4' }
    expect(tiers({ b: down, c: { gateways: [gw(2)], counts: '1/1' } }, [{ b: 1 }, { c: 1 }])).toEqual([
      ['b/r2 ×1 [127.22.0.1:15443 ×4 UNHEALTHY]'],
      ['c/r2 ×1 [127.22.0.2:15443 ×1]'],
    ])
    expect(tiers({ b: down }, [{ b: 1 }])).toEqual([['b/r2 ×1 [127.22.0.1:15443 ×4 UNHEALTHY]']])
  })

  test('one network: pods, not gateways; and nothing flat heard yet: the gateway', () => {
    const flat = ['10.1.0.2:8080 80 r2/', '10.1.0.1:8080 80 r2/', '10.1.0.3:99 81 r2/', 'pod-4:8080 80 r2/']
    expect(tiers({ b: { network: 'lan', gateways: [gw(1)], counts: '2/2', flat } }, [{ b: 1 }])).toEqual([
      ['b/r2 ×1 [10.1.0.1:8080 ×1, 10.1.0.2:8080 ×1]'],
    ])
    expect(tiers({ b: { network: 'lan', gateways: [gw(1)], counts: '2/2' } }, [{ b: 1 }])).toEqual([
      ['b/r2 ×1 [127.22.0.1:15443 ×2]'],
    ])
  })

  test('one network, ready pods without a known address: the gateway; only known ones dialled: counts decide the share', () => {
    const other = ['10.1.0.3:99 81 r2/']
    expect(tiers({ b: { network: 'lan', gateways: [gw(1)], counts: '2/2', flat: other } }, [{ b: 1 }])).toEqual([
      ['b/r2 ×1 [127.22.0.1:15443 ×2]'],
    ])
    expect(
      tiers({ b: { network: 'lan', counts: '2/2', flat: other }, c: { gateways: [gw(2)], counts: '0/1' } }, [
        { b: 1 },
        { c: 1 },
      ]),
    ).toEqual([['c/r2 ×1 [127.22.0.2:15443 ×1]']])
    const few = ['10.1.0.1:8080 80 r2/']
    const c = { gateways: [gw(2)], counts: '4/4' }
    expect(
      tiers({ b: { network: 'lan', gateways: [gw(1)], counts: '4/4', flat: few }, c }, [{ b: 50, c: 50 }]),
    ).toEqual([['b/r2 ×50 [10.1.0.1:8080 ×1]', 'c/r2 ×50 [127.22.0.2:15443 ×4]']])
  })

  test('pod addresses of another network are never dialled, whoever names them', () => {
    const flat = ['10.1.0.1:8080 80 r2/']
    expect(tiers({ b: { gateways: [gw(1)], counts: '1/1', flat } }, [{ b: 1 }])).toEqual([
      ['b/r2 ×1 [127.22.0.1:15443 ×1]'],
    ])
  })

  test('a name in place of a gateway’s address costs that gateway, not the service', () => {
    expect(tiers({ b: { gateways: ['gw.example.com:15443', gw(1)], counts: '1/1' } }, [{ b: 1 }])).toEqual([
      ['b/r2 ×1 [127.22.0.1:15443 ×1]'],
    ])
  })
})

describe('what moves traffic', () => {
  const b = { gateways: [gw(1), gw(2)], counts: '4/4' }
  const c = { gateways: [gw(3)], counts: '2/2' }
  const inB = (health = '') => `[127.22.0.1:15443 ×4${health}, 127.22.0.2:15443 ×4${health}]`
  /** Where b dials two gateways a pod weighs 2. */
  const inC = (weight = 4) => `[127.22.0.3:15443 ×${weight}]`
  const order = [{ b: 1 }, { c: 1 }]
  const moved = (traffic: CaseText['traffic'], more: object = {}) =>
    tiers({ b, c }, order, {}, { traffic, ...more } as never)

  test.each<[name: string, found: string[][], expected: string[][]]>([
    [
      'half: both in one priority',
      moved({ clusters: { b: '50 drain' } }),
      [[`b/r2 ×10000 ${inB()}`, `c/r2 ×10000 ${inC()}`]],
    ],
    [
      'dead: last, and unhealthy',
      moved({ clusters: { b: '0 dead' } }),
      [[`c/r2 ×1 ${inC()}`], [`b/r2 ×1 ${inB(' UNHEALTHY')}`]],
    ],
    ['a quota', moved({ clusters: { b: '100 quota 0.2' } }), [[`b/r2 ×2500 ${inB()}`, `c/r2 ×10000 ${inC()}`]]],
    [
      'this service’s word before the cluster’s',
      moved({ clusters: { b: '0 dead' }, services: { 'shop/cart': { b: '100 returning' } } }),
      [[`b/r2 ×1 ${inB()}`], [`c/r2 ×1 ${inC()}`]],
    ],
    [
      'another service’s word',
      moved({ services: { 'shop/other': { b: '0 dead' } } }),
      [[`b/r2 ×1 ${inB()}`], [`c/r2 ×1 ${inC()}`]],
    ],
    [
      'a drain of the service',
      moved(undefined, { drains: [{ cluster: 'b', percent: 10 }] }),
      [[`b/r2 ×1111 ${inB()}`, `c/r2 ×10000 ${inC()}`]],
    ],
    [
      'not heard, and to be demoted for that: behind all others, in good health',
      moved({ services: { 'shop/cart': { b: '0 lost' } } }, { policy: { onExporterLost: 'demote' } }),
      [[`c/r2 ×1 ${inC()}`], [`b/r2 ×1 ${inB()}`]],
    ],
    [
      'not heard, and to be dropped for that: the last resort, unhealthy',
      moved({ services: { 'shop/cart': { b: '0 lost' } } }, { policy: { onExporterLost: 'drop' } }),
      [[`c/r2 ×1 ${inC()}`], [`b/r2 ×1 ${inB(' UNHEALTHY')}`]],
    ],
    [
      'everybody dead: as if nothing were said',
      moved({ clusters: { b: '0 dead', c: '0 dead' } }),
      [[`b/r2 ×1 ${inB()}`], [`c/r2 ×1 ${inC()}`]],
    ],
    [
      'half its gateways: the others carry all',
      moved({ gatewaysDown: { b: [gw(1)] } }),
      [[`b/r2 ×1 [127.22.0.2:15443 ×4]`], [`c/r2 ×1 ${inC(2)}`], [`b/r2 ×1 [127.22.0.1:15443 ×1 UNHEALTHY]`]],
    ],
    [
      'a gateway of its own is drained',
      moved({ gatewaysDraining: { b: [gw(2)] } }),
      [[`b/r2 ×1 [127.22.0.1:15443 ×4]`], [`c/r2 ×1 ${inC(2)}`], [`b/r2 ×1 [127.22.0.2:15443 ×1 UNHEALTHY]`]],
    ],
    [
      'drained and the other down: the drained one',
      moved({ gatewaysDown: { b: [gw(1)] }, gatewaysDraining: { b: [gw(2)] } }),
      [[`b/r2 ×1 [127.22.0.2:15443 ×4]`], [`c/r2 ×1 ${inC(2)}`], [`b/r2 ×1 [127.22.0.1:15443 ×1 UNHEALTHY]`]],
    ],
    [
      'all its gateways, but no verdict: as they are',
      moved({ gatewaysDown: { b: [gw(1), gw(2)] } }),
      [[`b/r2 ×1 ${inB()}`], [`c/r2 ×1 ${inC()}`]],
    ],
    [
      'dead with a gateway down: all of it last',
      moved({ clusters: { b: '0 dead' }, gatewaysDown: { b: [gw(1)] } }),
      [[`c/r2 ×1 ${inC(2)}`], [`b/r2 ×1 [127.22.0.2:15443 ×4 UNHEALTHY, 127.22.0.1:15443 ×1 UNHEALTHY]`]],
    ],
  ])('%s', (_, found, expected) => expect(found).toEqual(expected))

  test('pods that are lost, by the peak; without a policy they scale a share and nothing spills', () => {
    const half = { b: { gateways: [gw(1)], counts: '2/4' }, c }
    const peaks = { 'b shop/cart 80': 4 }
    const first = (more: object) =>
      tiers(half, order, {}, more as never).map((level) => level.map((s) => s.split(' [')[0]))
    expect(first({ policy: {}, traffic: { peaks } })).toEqual([['b/r2 ×10000', 'c/r2 ×4286']])
    expect(first({ policy: {}, traffic: { peaks: { 'b shop/cart 80': 2 } } })).toEqual([['b/r2 ×1'], ['c/r2 ×1']])
    expect(first({ traffic: { peaks } })).toEqual([['b/r2 ×1'], ['c/r2 ×1']])
  })

  test('the own pods are what is known here, whatever is said of the cluster; one that leaves comes last under a policy', () => {
    const pods = { 'shop/cart-1': pod('127.21.1.1'), 'shop/cart-2': pod('127.21.1.2', { health: 'draining' }) }
    const found = (more: object) => tiers({ c }, [{ a: 1 }, { c: 1 }], pods, more as never)
    const inPlace = [['a/r1 ×1 [127.21.1.1:8080 ×1, 127.21.1.2:8080 ×1 DRAINING]'], [`c/r2 ×1 ${inC(2)}`]]
    expect(found({ traffic: { clusters: { a: '0 drain' } } })).toEqual(inPlace)
    expect(found({ policy: {} })).toEqual([
      ['a/r1 ×1 [127.21.1.1:8080 ×1]'],
      [`c/r2 ×1 ${inC(2)}`],
      ['a/r1 ×1 [127.21.1.2:8080 ×1 DRAINING]'],
    ])
    expect(found({ drains: [{ cluster: 'a', percent: 0 }] })).toEqual(inPlace)
    expect(found({ traffic: { services: { 'shop/cart': { a: '100 quota 0.2' } } } })[0]?.[0]).toMatch(/^a\/r1 ×2500/)
  })

  test('where no tier names an exporter, all of them are called: revoked ones leave nobody with nothing', () => {
    expect(tiers({ b, c }, [{ z: 1 }], {}, { policy: {} })).toEqual([[`b/r2 ×1 ${inB()}`, `c/r2 ×1 ${inC()}`]])
  })

  test('a tier that names nobody who is ready does not hide who is', () => {
    expect(tiers({ b, c: { ...c, counts: '0/2' } }, [{ c: 1 }])).toEqual([['c/r2 ×1 [127.22.0.3:15443 ×1]']])
  })
})
