import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Report, type ReportFacts, reportOf } from '#gateway/uplink/report.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { parseClusterName, parseMeshName, parseNetworkName, serviceKey, trustDomainOf } from '#mesh/model/id.ts'
import type { Service } from '#mesh/model/service.ts'
import type { Home, OwnCluster } from '#mesh/model/view.ts'
import {
  clusterFactsSchema,
  exportSchema,
  gatewaySummarySchema,
  objectSaidSchema,
  parseReportKey,
  refusalSchema,
  reportLimits,
  serviceSummarySchema,
  unreadSchema,
} from '#mesh/wire/report.ts'
import { trustReportSchema } from '#mesh/wire/trust-report.ts'

const home: Home = {
  mesh: parseMeshName('mesh1'),
  cluster: parseClusterName('a'),
  network: parseNetworkName('n1'),
  region: 'r1',
  trustDomain: trustDomainOf(parseClusterName('a'), parseMeshName('mesh1'), 1),
  gateways: [{ address: '127.21.0.2', port: 15443, state: 'ready' }],
}
const web = serviceKey('shop', 'web')
const hidden = serviceKey('shop', 'hidden')

const service = (key = web, more: Partial<Service> = {}): Service => ({
  key,
  ports: [{ name: 'http', port: 80, protocol: 'http', declared: true }],
  clusterIps: ['10.0.0.1'],
  headless: false,
  origin: 'web.yaml:1',
  ...more,
})
const endpoint = (address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  address,
  ports: { http: 8080 },
  health: 'ready',
  locality: { region: 'r1', zone: 'z1' },
  network: home.network,
  pod: `shop/pod-${address}`,
  serviceAccount: 'web',
  meshed: true,
  ...more,
})
const clusterOf = (endpoints: readonly Endpoint[], more: Partial<OwnCluster> = {}): OwnCluster => ({
  services: new Map([
    [web, service()],
    [hidden, service(hidden)],
  ]),
  endpoints: new Map([
    [web, endpoints],
    [hidden, [endpoint('10.9.9.9', { serviceAccount: 'hidden' })]],
  ]),
  pods: new Map(),
  exports: new Map([[web, { key: web, createdAt: 7, origin: 'x.yaml:3' }]]),
  refused: new Set(),
  peerAuthentications: [],
  ...more,
})
const report = (own: OwnCluster, more: Partial<ReportFacts> = {}): Report =>
  reportOf({ own, home, relayVersion: '0.1.0', flat: false, ...more })
const told = (given: Report): string[] => given.conditions.map((c) => `${c.type} ${c.object}`)

test('cluster, gateways, export and summary; a Service that is not exported is not named', () => {
  const given = report(clusterOf([endpoint('10.0.0.2'), endpoint('10.0.0.1', { health: 'not-ready' })]))
  expect(Object.fromEntries(given.items)).toEqual({
    cluster: { network: 'n1', region: 'r1', relayVersion: '0.1.0', meshSync: 'mesh-sync/1.1' },
    gateways: { gateways: [{ address: '127.21.0.2', port: 15443, state: 'ready' }] },
    'export/shop/web': {
      ports: [{ name: 'http', port: 80, protocol: 'http', declared: true }],
      serviceAccounts: ['web'],
      createdAt: 7,
      headless: false,
    },
    'summary/shop/web': { counts: [{ port: 80, region: 'r1', zone: 'z1', ready: 1, total: 2 }] },
  })
  expect(JSON.stringify([...given.items])).not.toContain('hidden')
  expect(given.conditions).toEqual([])
})

test('consumers and refusals travel', () => {
  const given = report(
    clusterOf([], {
      exports: new Map([[web, { key: web, consumers: ['b'], createdAt: 0, origin: '' }]]),
      refused: new Set([hidden, serviceKey('shop', 'a')]),
    }),
  )
  expect(given.items.get('export/shop/web')).toMatchObject({ consumers: ['b'] })
  expect([...given.items.keys()].filter((k) => k.startsWith('refuse/'))).toEqual([
    'refuse/shop/a',
    'refuse/shop/hidden',
  ])
})

describe('only meshed pods count', () => {
  const bare = endpoint('10.0.0.3', { meshed: false, serviceAccount: 'other', pod: 'shop/bare' })
  const given = report(clusterOf([endpoint('10.0.0.1'), bare]), { flat: true })

  test('in counts, addresses and identities', () => {
    expect(given.items.get('summary/shop/web')).toEqual({
      counts: [{ port: 80, region: 'r1', zone: 'z1', ready: 1, total: 1 }],
      flat: [{ address: '10.0.0.1', port: 8080, servicePort: 80, region: 'r1', zone: 'z1', draining: false }],
    })
    expect(given.items.get('export/shop/web')).toMatchObject({ serviceAccounts: ['web'] })
  })

  test('and the others are a condition that names them', () => {
    expect(told(given)).toEqual(['NotMeshed service shop/web'])
    expect(given.conditions[0]?.message).toContain('shop/bare')
  })
})

describe('service accounts', () => {
  const full = report(
    clusterOf([endpoint('10.0.0.1', { serviceAccount: 'y' }), endpoint('10.0.0.2', { serviceAccount: 'x' })]),
  )
  const accounts = (given: Report): unknown =>
    (given.items.get('export/shop/web') as { serviceAccounts?: unknown }).serviceAccounts
  const config = (...identities: string[]): ClusterConfig => ({
    mesh: home.mesh,
    cluster: home.cluster,
    network: home.network,
    region: '',
    trust: { trustDomain: home.trustDomain, roots: [], members: [] },
    exports: new Map(),
    conditions: [],
    imports: new Map([
      [
        web,
        {
          key: web,
          host: '',
          ports: [],
          tiers: [],
          settings: { overprovisioningFactor: 140, ejectAfterFailures: 3, retries: 3, connectTimeoutMs: 1000 },
          sources: [
            {
              cluster: home.cluster,
              network: home.network,
              region: '',
              trustDomain: home.trustDomain,
              identities,
              ports: [80],
            },
          ],
        },
      ],
    ]),
  })

  test('are sorted, those of pods that are not ready among them', () => {
    expect(accounts(full)).toEqual(['x', 'y'])
    expect(accounts(report(clusterOf([endpoint('10.0.0.1', { health: 'not-ready' })])))).toEqual(['web'])
  })

  test('stay while all pods are away, and follow the pods that come', () => {
    const away = report(clusterOf([]), { previous: full.items })
    expect(accounts(away)).toEqual(['x', 'y'])
    expect(away.items.get('summary/shop/web')).toEqual({ counts: [] })
    expect(accounts(report(clusterOf([]), { previous: away.items }))).toEqual(['x', 'y'])
    expect(
      accounts(report(clusterOf([endpoint('10.0.0.1', { serviceAccount: 'z' })]), { previous: away.items })),
    ).toEqual(['z'])
  })

  test('a relay that has just started knows them from the config in force, its own ones only', () => {
    const mine = 'spiffe://a.mesh1/ns/shop/sa/x'
    const given = report(clusterOf([]), {
      config: config(mine, 'spiffe://b.mesh1/ns/shop/sa/evil', 'spiffe://a.mesh1/ns/other/sa/y'),
    })
    expect(accounts(given)).toEqual(['x'])
  })

  test('nobody ever saw a pod: empty, and never made up', () => {
    expect(accounts(report(clusterOf([])))).toEqual([])
  })
})

describe('a headless service', () => {
  const pods = [
    endpoint('10.0.0.1', { hostname: 'web-0' }),
    endpoint('10.0.0.2', { hostname: 'web-1', health: 'not-ready' }),
    endpoint('10.0.0.3', { hostname: 'bare-0', meshed: false }),
    endpoint('10.0.0.4'),
  ]
  const headless = { services: new Map([[web, service(web, { clusterIps: [], headless: true })]]) }
  const summary = (given: Report) => given.items.get('summary/shop/web')

  test('names its meshed pods, ready or not, and which address each has where it is told', () => {
    expect(summary(report(clusterOf(pods, headless)))?.['podNames']).toEqual([
      { hostname: 'web-0', ready: true },
      { hostname: 'web-1', ready: false },
    ])
    expect(summary(report(clusterOf(pods, headless), { flat: true }))?.['flat']).toMatchObject([
      { address: '10.0.0.1', hostname: 'web-0' },
      { address: '10.0.0.4' },
    ])
  })

  test('one that is not headless names none, whatever its slices say', () => {
    expect(summary(report(clusterOf(pods)))).not.toHaveProperty('podNames')
    expect(JSON.stringify(summary(report(clusterOf(pods), { flat: true })))).not.toContain('web-0')
  })

  test('of very many a hundred are named; the centre takes that, addresses and all, and the others are told', () => {
    const many = Array.from({ length: 500 }, (_, n) =>
      endpoint(`10.1.${n >> 8}.${n & 255}`, { hostname: `${'web-'.repeat(15)}${n}`.slice(-63) }),
    )
    const given = report(clusterOf(many, headless), { flat: true })
    expect(summary(given)?.['podNames']).toHaveLength(100)
    expect(canonicalJson(summary(given) ?? {}).length).toBeLessThan(reportLimits.valueBytes)
    expect(serviceSummarySchema.safeParse(summary(given)).success).toBe(true)
    expect(given.conditions).toContainEqual(
      expect.objectContaining({ type: 'PodsWithoutName', message: expect.stringContaining(' and 395 more') }),
    )
  })
})

test('an export that asks for a name of this cluster', () => {
  const exports = new Map([[web, { key: web, createdAt: 7, origin: 'x.yaml:3', perCluster: true as const }]])
  const item = report(clusterOf([], { exports })).items.get('export/shop/web')
  expect(exportSchema.parse(item)).toMatchObject({ perCluster: true })
  expect(report(clusterOf([])).items.get('export/shop/web')).not.toHaveProperty('perCluster')
})

test('an export says the labels of its Service and that its clients stay with one pod', () => {
  const said = { labels: { app: 'web' }, sticky: true as const }
  const services = new Map([[web, service(web, said)]])
  expect(exportSchema.parse(report(clusterOf([], { services })).items.get('export/shop/web'))).toMatchObject(said)
  expect(report(clusterOf([])).items.get('export/shop/web')).not.toHaveProperty('labels')
})

describe('addresses for neighbours', () => {
  const endpoints = [
    endpoint('10.0.0.1', { health: 'draining' }),
    endpoint('10.0.0.2', { health: 'not-ready' }),
    endpoint('10.0.0.3', { network: parseNetworkName('n2') }),
    endpoint('10.0.0.4', { ports: { other: 1 } }),
  ]

  test('none leaves the cluster where nobody shares its network', () => {
    expect(JSON.stringify([...report(clusterOf(endpoints)).items])).not.toMatch(/10\.0\.0\./)
  })

  test('only those that can be dialled', () => {
    expect(report(clusterOf(endpoints), { flat: true }).items.get('summary/shop/web')).toMatchObject({
      flat: [{ address: '10.0.0.1', draining: true }],
    })
  })
})

describe('more pods than the wire holds', () => {
  const ports = [80, 81, 82, 83].map((port) => ({ name: `p${port}`, port, protocol: 'http' as const, declared: true }))
  const behind = { p80: 8080, p81: 8081, p82: 8082 }
  const many = (n: number, more: Partial<Endpoint> = {}) =>
    Array.from({ length: n }, (_, i) =>
      endpoint(`10.${more.health ? 0 : 1}.${i >> 8}.${i & 255}`, { ports: behind, ...more }),
    )
  const own = (endpoints: readonly Endpoint[]) =>
    clusterOf(endpoints, { services: new Map([[web, service(web, { ports })]]) })
  const flatPorts = (given: Report) => {
    const { flat = [] } = serviceSummarySchema.parse(given.items.get('summary/shop/web'))
    return Object.fromEntries([...Map.groupBy(flat, (e) => e.servicePort)].map(([port, of]) => [port, of]))
  }

  test('every port that has pods keeps its share of addresses, and the cut is said', () => {
    const given = report(own(many(200)), { flat: true })
    const kept = flatPorts(given)
    expect(Object.entries(kept).map(([port, of]) => [port, of.length])).toEqual([
      ['80', 133],
      ['81', 133],
      ['82', 133],
    ])
    expect(told(given)).toEqual(['TooManyEndpoints service shop/web'])
    expect(given.conditions[0]?.message).toContain('133 of 200 on port 82')
  })

  test('ready ones are kept before those that go', () => {
    const kept = flatPorts(report(own([...many(200, { health: 'draining' }), ...many(20)]), { flat: true }))
    for (const of of Object.values(kept)) expect(of.filter((e) => !e.draining)).toHaveLength(20)
  })

  test('nothing is cut or said where all have room, or where no pod address leaves the cluster', () => {
    expect(told(report(own(many(133)), { flat: true }))).toEqual([])
    expect(told(report(own(many(200))))).toEqual([])
  })
})

describe('conditions', () => {
  test('an export of nothing', () => {
    const given = report(clusterOf([], { services: new Map() }))
    expect(told(given)).toEqual(['NoService service shop/web'])
    expect(given.conditions[0]?.message).toContain('x.yaml:3')
    expect([...given.items.keys()]).toEqual(['cluster', 'gateways'])
  })

  describe('a Service of a name that other clusters offer', () => {
    const importedFrom = (...clusters: string[]): ClusterConfig =>
      ({
        imports: new Map([
          [
            hidden,
            { key: hidden, host: 'hidden.shop.svc.cluster.local', sources: clusters.map((cluster) => ({ cluster })) },
          ],
        ]),
      }) as unknown as ClusterConfig
    const pods = [endpoint('10.0.0.1')]

    test('own pods only, unless it is exported here: both ways to all of them are named', () => {
      const given = report(clusterOf(pods), { config: importedFrom('a', 'b', 'c') })
      expect(told(given)).toEqual(['OwnPodsOnly service shop/hidden'])
      expect(given.conditions[0]?.message).toContain('hidden.shop.svc.cluster.local reaches only')
      expect(given.conditions[0]?.message).toContain('b, c offer')
      expect(given.conditions[0]?.message).toContain('call hidden.shop.svc.clusterset.local, or export it')
    })

    const both = new Map([web, hidden].map((key) => [key, { key, createdAt: 7, origin: 'x.yaml:3' }]))
    test('a headless one, exported or not: only the name of all leads there', () => {
      const services = new Map([[hidden, service(hidden, { clusterIps: [], headless: true })]])
      for (const exports of [new Map(), new Map([...both].slice(1))]) {
        const given = report(clusterOf(pods, { services, exports }), { config: importedFrom('a', 'b') })
        expect(given.conditions.at(-1)).toMatchObject({ type: 'OwnPodsOnly', reason: 'HeadlessHere' })
        expect(given.conditions.at(-1)?.message).toMatch(
          /call hidden.shop.svc.clusterset.local, since it is headless here$/,
        )
      }
    })

    test.each([
      ['exported here too', clusterOf(pods, { exports: both }), ['b']],
      ['nobody else offers it', clusterOf(pods), ['a']],
      ['refused here', clusterOf(pods, { refused: new Set([hidden]) }), ['b']],
      ['no such Service here', clusterOf(pods, { services: new Map([[web, service()]]) }), ['b']],
    ] as const)('%s: nothing to say', (_name, own, from) =>
      expect(told(report(own, { config: importedFrom(...from) }))).toEqual([]),
    )
  })

  test('a port that says no protocol', () => {
    const ports = [{ name: 'x', port: 80, protocol: 'tcp' as const, declared: false }]
    const given = report(clusterOf([], { services: new Map([[web, service(web, { ports })]]) }))
    expect(told(given)).toEqual(['ProtocolNotDeclared service shop/web'])
  })
})

describe('whatever the cluster', () => {
  const anyEndpoint = fc
    .record({
      address: fc.ipV4(),
      health: fc.constantFrom('ready' as const, 'draining' as const, 'not-ready' as const),
      meshed: fc.boolean(),
      serviceAccount: fc.constantFrom('', 'x', 'y'),
      zone: fc.constantFrom('', 'z1', 'z2'),
    })
    .map(({ address, zone, ...rest }) => endpoint(address, { ...rest, locality: { region: 'r1', zone } }))

  test('any order of input gives equal bytes', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyEndpoint, { selector: (e) => e.address }), (endpoints) => {
        const own = clusterOf(endpoints, { refused: new Set([web, hidden]) })
        const turned = clusterOf(endpoints.toReversed(), { refused: new Set([hidden, web]) })
        expect(canonicalJson([...report(turned, { flat: true }).items])).toBe(
          canonicalJson([...report(own, { flat: true }).items]),
        )
      }),
    )
  })

  test('the centre accepts every item, the largest too', () => {
    const many = Array.from({ length: 5000 }, (_, i) =>
      endpoint(`2001:db8:ffff:ffff:ffff:ffff:${(i >> 8).toString(16)}ff:${(i & 255).toString(16)}ff`, {
        serviceAccount: `a-rather-long-service-account-${i}`,
        locality: { region: 'r1', zone: `zone-${i}` },
      }),
    )
    const given = report(clusterOf(many, { refused: new Set([hidden]) }), { flat: true })
    const schemas = {
      cluster: clusterFactsSchema,
      gateways: gatewaySummarySchema,
      export: exportSchema,
      summary: serviceSummarySchema,
      refuse: refusalSchema,
      trust: trustReportSchema,
      policy: objectSaidSchema,
      group: objectSaidSchema,
      unread: unreadSchema,
    }
    for (const [key, value] of given.items) {
      const kind = parseReportKey(key)?.kind
      if (!kind) throw new Error(`no such key: ${key}`)
      expect(schemas[kind].safeParse(value).error).toBeUndefined()
      expect(Buffer.byteLength(canonicalJson(value))).toBeLessThan(reportLimits.valueBytes)
    }
    expect(told(given)).toEqual(['TooManyIdentities service shop/web', 'TooManyEndpoints service shop/web'])
    expect(given.items.get('summary/shop/web')).toMatchObject({ counts: [{ ready: 5000, zone: '' }] })
  })
})

test('own policies and groups: what they say or why they cannot be read; the first hundred by name', () => {
  const policy = (name: string) => ({ kind: 'GlobalTrafficPolicy' as const, namespace: 'shop', name })
  const few = clusterOf([], {
    trafficObjects: [
      { ...policy('reviews'), spec: { services: {} } },
      { ...policy('odd'), fault: 'spec.tirs: there is no such field' },
      { kind: 'SamenessGroup', name: 'prod', spec: { clusters: ['a'] } },
    ],
    unreadFiles: 2,
  })
  const { items } = report(few)
  expect(items.get('policy/shop/reviews')).toEqual({ spec: { services: {} } })
  expect(items.get('policy/shop/odd')).toEqual({ fault: 'spec.tirs: there is no such field' })
  expect(items.get('group/prod')).toEqual({ spec: { clusters: ['a'] } })
  expect(items.get('unread')).toEqual({ files: 2 })
  const many = Array.from({ length: 101 }, (_, n) => ({ ...policy(`p${100 + n}`), spec: { services: {} } }))
  const cut = report(clusterOf([], { trafficObjects: many }))
  expect([...cut.items.keys()].filter((key) => key.startsWith('policy/'))).toHaveLength(100)
  expect([cut.items.has('policy/shop/p200'), told(cut)]).toEqual([false, ['TooManyPolicies cluster']])
})
