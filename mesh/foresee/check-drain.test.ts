import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkDrain, type DrainFacts } from '#mesh/foresee/check-drain.ts'
import type { Demand } from '#mesh/foresee/demand.ts'
import { addressKey } from '#mesh/model/address.ts'
import type { ClusterConfig, ImportedService } from '#mesh/model/cluster-config.ts'
import type { DrainSubject } from '#mesh/model/drain.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import {
  type ClusterName,
  parseClusterName,
  parseMeshName,
  parseNetworkName,
  type ServiceKey,
  serviceKey,
  trustDomainOf,
} from '#mesh/model/id.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import type { Capacity } from '#mesh/model/traffic-policy.ts'
import { defaultSettings } from '#mesh/policy/default-tiers.ts'

const mesh = parseMeshName('mesh1')
const ports = [80, 443]
const keyOf = (name: string): ServiceKey => serviceKey('shop', name)

type Text = {
  /** Network by cluster. */
  readonly clusters: Readonly<Record<string, string>>
  /** By service: ready pods by exporter; undefined = never heard. */
  readonly services: Readonly<Record<string, Readonly<Record<string, number | undefined>>>>
  /** By cluster; absent = one that is ready. */
  readonly gateways?: Readonly<Record<string, readonly Gateway['state'][]>>
  readonly capacity?: Readonly<Record<string, Capacity>>
  /** Exporters that no tier names. */
  readonly unlisted?: readonly string[]
  /** Exporters that offer the first port only. */
  readonly narrow?: readonly string[]
}

const gatewaysOf = (text: Text, cluster: string): readonly Gateway[] =>
  (text.gateways?.[cluster] ?? (['ready'] as const)).map((state, n) => ({ address: `10.0.0.${n}`, port: 15443, state }))

function factsOf(text: Text, demand?: Demand): Omit<DrainFacts, 'others'> {
  const names = Object.keys(text.clusters).map(parseClusterName)
  const network = (cluster: ClusterName) => parseNetworkName(text.clusters[cluster] ?? cluster)
  const portsOf = (cluster: string) => (text.narrow?.includes(cluster) ? ports.slice(0, 1) : ports)
  const imports = new Map(
    Object.entries(text.services).map(([name, exporters]): [ServiceKey, ImportedService] => {
      const sources = Object.keys(exporters).map(parseClusterName)
      const listed = sources.filter((cluster) => !text.unlisted?.includes(cluster))
      const members = listed.map((cluster) => {
        const capacity = text.capacity?.[cluster]
        return { cluster, weight: 1, ...(capacity ? { capacity } : {}) }
      })
      const imported: ImportedService = {
        ...{ key: keyOf(name), host: `${name}.shop`, settings: defaultSettings, tiers: [{ members }] },
        ports: ports.map((port) => ({ name: `p${port}`, port, protocol: 'http', declared: true })),
        sources: sources.map((cluster) => ({
          ...{ cluster, network: network(cluster), region: 'r', identities: [], ports: portsOf(cluster) },
          trustDomain: trustDomainOf(cluster, mesh, 1),
        })),
      }
      return [imported.key, imported]
    }),
  )
  const configs = new Map(
    names.map((cluster): [ClusterName, ClusterConfig] => [
      cluster,
      {
        ...{ mesh, cluster, network: network(cluster), region: 'r', imports, exports: new Map(), conditions: [] },
        trust: { trustDomain: trustDomainOf(cluster, mesh, 1), roots: [], members: [] },
      },
    ]),
  )
  const services = new Map(
    names.map((cluster) => [
      cluster as string,
      new Map(
        Object.entries(text.services).flatMap(([name, exporters]) => {
          const ready = exporters[cluster]
          if (ready === undefined) return []
          const counts = portsOf(cluster).map((port) => ({ port, region: 'r', zone: '', ready, total: ready }))
          return [[keyOf(name) as string, { counts }] as const]
        }),
      ),
    ]),
  )
  const gateways = new Map(names.map((one) => [one as string, { gateways: gatewaysOf(text, one) }]))
  const summaries: Summaries = { services, gateways }
  // Callers of a ask for all of it.
  const asked = new Map(Object.keys(text.services).flatMap((name) => (demand ? [[keyOf(name), demand] as const] : [])))
  const demands = new Map(demand ? names.map((one) => [one, one === 'a' ? asked : new Map()]) : [])
  return { configs, sight: summaries, demands }
}

const cluster = (name: string): DrainSubject => ({ kind: 'cluster', cluster: parseClusterName(name) })
const refusalsOf = (text: Text, subject: DrainSubject, others: readonly DrainSubject[] = []): readonly string[] =>
  checkDrain(subject, { ...factsOf(text), others }).refusals.map(({ path, reason }) => `${path}: ${reason}`)

const three: Text = { clusters: { a: 'na', b: 'nb', c: 'nc' }, services: { x: { b: 1, c: 1 } } }

describe('nobody is left without anybody', () => {
  test.each<[string, Text, DrainSubject, readonly DrainSubject[], readonly string[]]>([
    ['another cluster serves', three, cluster('b'), [], []],
    ['the other one is drained too', three, cluster('b'), [cluster('c')], ['a: c is drained too']],
    [
      ...([
        'the other one has nothing ready',
        { ...three, services: { x: { b: 1, c: 0 } } },
        cluster('b'),
        [],
      ] as const),
      [
        'a: c has no ready pod, no gateway, or no place in its tiers',
        'c: c has no ready pod, no gateway, or no place in its tiers',
      ],
    ],
    [
      ...([
        'nothing was heard of the other',
        { ...three, services: { x: { b: 1, c: undefined } } },
        cluster('b'),
        [],
      ] as const),
      [
        'a: c has no ready pod, no gateway, or no place in its tiers',
        'c: c has no ready pod, no gateway, or no place in its tiers',
      ],
    ],
    ['it serves nobody itself', { ...three, services: { x: { b: 0, c: 0 } } }, cluster('b'), [], []],
    [
      ...([
        'the other one has no gateway that works',
        { ...three, gateways: { c: ['down'] } },
        cluster('b'),
        [],
      ] as const),
      ['a: c has no ready pod, no gateway, or no place in its tiers'],
    ],
    [
      ...(['no tier names the other one', { ...three, unlisted: ['c'] }, cluster('b'), []] as const),
      [
        'a: c has no ready pod, no gateway, or no place in its tiers',
        'c: c has no ready pod, no gateway, or no place in its tiers',
      ],
    ],
    [
      'the other one lacks a port',
      { clusters: { a: 'na', b: 'nb', c: 'nc' }, services: { x: { b: 1, c: 1 } }, narrow: ['c'] },
      ...([cluster('b'), []] as const),
      [
        'a at port 443: c has no ready pod, no gateway, or no place in its tiers',
        'c at port 443: c has no ready pod, no gateway, or no place in its tiers',
      ],
    ],
  ])('%s', (_, text, subject, others, wanted) => {
    const said = wanted.map((one) => {
      const [, caller = '', at = '', why = ''] = /^(\w+)( at port \d+)?: (.*)$/.exec(one) ?? []
      return `shop/x for callers of ${caller}: nobody would be left${at}: ${why}`
    })
    expect(refusalsOf(text, subject, others)).toEqual(said)
  })

  test('callers inside a drained cluster keep its own pods', () => {
    // Callers of a have b, and those of b their own.
    const two: Text = { clusters: { a: 'na', b: 'nb' }, services: { x: { a: 1, b: 1 } } }
    expect(refusalsOf(two, cluster('a'))).toEqual([])
    expect(refusalsOf(two, cluster('a'), [cluster('b')])).toEqual([])
  })

  test('a gateway goes while another one of its cluster works', () => {
    const gateway = (n: number): DrainSubject => ({
      ...{ kind: 'gateway', cluster: parseClusterName('b'), gateway: `10.0.0.${n}:15443` },
    })
    const two: Text = { ...three, gateways: { b: ['ready', 'ready'] } }
    expect(refusalsOf(two, gateway(0))).toEqual([])
    expect(refusalsOf(two, gateway(0), [gateway(1)])).toHaveLength(1)
    expect(refusalsOf({ ...three, gateways: { b: ['ready', 'down'] } }, gateway(0))).toHaveLength(1)
  })
})

describe('capacity', () => {
  const check = (capacity: Text['capacity'], demand?: Demand) => {
    const { shortages, warnings } = checkDrain(cluster('b'), {
      ...factsOf({ ...three, ...(capacity ? { capacity } : {}) }, demand),
      others: [],
    })
    return [...shortages.map(({ path, reason }) => `${path}: ${reason}`), ...warnings]
  }
  const asked = { requestsPerSecond: 400, connections: 10 }
  test('what is left declares less than is asked', () => {
    expect(check({ c: { requestsPerSecond: 300 } }, asked)).toEqual([
      'shop/x: c declares 300 requests per second, and would be asked for 400: nobody else has room',
    ])
    expect(check({ c: { connections: 9 } }, asked)).toEqual([
      'shop/x: c declares 9 connections, and would be asked for 10: nobody else has room',
    ])
    expect(check({ c: { requestsPerSecond: 400, connections: 10 } }, asked)).toEqual([])
  })
  test('what is not declared or not measured is said', () => {
    expect(check(undefined, asked)).toEqual([
      'no capacity is declared of those that take over shop/x: whether they hold is not known',
    ])
    expect(check({ c: { requestsPerSecond: 300 } })).toEqual(['what callers of a, b, c ask of shop/x is not measured'])
  })
})

const names = ['a', 'b', 'c', 'd', 'e'] as const
const someText: fc.Arbitrary<Text> = fc.record({
  clusters: fc.record(Object.fromEntries(names.map((name) => [name, fc.constantFrom('n1', 'n2', `n${name}`)]))),
  services: fc.record(
    Object.fromEntries(
      ['x', 'y'].map((name) => [
        name,
        fc.dictionary(fc.constantFrom(...names), fc.constantFrom(undefined, 0, 1, 2), { minKeys: 1 }),
      ]),
    ),
  ),
  gateways: fc.record(
    Object.fromEntries(
      names.map((name) => [
        name,
        fc.array(fc.constantFrom('ready' as const, 'down' as const, 'unknown' as const), { maxLength: 3 }),
      ]),
    ),
  ),
  unlisted: fc.subarray([...names], { maxLength: 2 }),
  narrow: fc.subarray([...names], { maxLength: 2 }),
})
const someCluster = fc.constantFrom(...names).map(parseClusterName)
const someSubject: fc.Arbitrary<DrainSubject> = fc.oneof(
  fc.record({ kind: fc.constant('cluster' as const), cluster: someCluster }),
  fc.record({
    kind: fc.constant('gateway' as const),
    cluster: someCluster,
    gateway: fc.nat(2).map((n) => addressKey({ address: `10.0.0.${n}`, port: 15443 })),
  }),
  fc.record({
    kind: fc.constant('service' as const),
    cluster: someCluster,
    service: fc.constantFrom('x', 'y').map(keyOf),
  }),
)

/** Who is served at which port of what, where these are drained: told once more, in other words. */
function servedIn(text: Text, drained: readonly DrainSubject[]): ReadonlySet<string> {
  const served = new Set<string>()
  for (const caller of Object.keys(text.clusters))
    for (const [name, exporters] of Object.entries(text.services))
      for (const [from, ready] of Object.entries(exporters)) {
        const isInside = from === caller
        const isOut = drained.some(
          (one) =>
            one.cluster === from && (one.kind === 'cluster' || (one.kind === 'service' && one.service === keyOf(name))),
        )
        const isOpen = gatewaysOf(text, from).some(
          (gateway) =>
            gateway.state !== 'down' &&
            !drained.some(
              (one) => one.kind === 'gateway' && one.cluster === from && one.gateway === addressKey(gateway),
            ),
        )
        const isReached = isInside || (!isOut && (isOpen || text.clusters[from] === text.clusters[caller]))
        if ((ready ?? 0) === 0 || text.unlisted?.includes(from) || !isReached) continue
        for (const port of text.narrow?.includes(from) ? ports.slice(0, 1) : ports)
          served.add(`${caller} ${name} ${port}`)
      }
  return served
}

test('drains that are let in one after another never leave a caller without anybody', () => {
  fc.assert(
    fc.property(someText, fc.array(someSubject, { maxLength: 8 }), (text, wishes) => {
      const before = servedIn(text, [])
      const drained: DrainSubject[] = []
      for (const wish of wishes)
        if (refusalsOf(text, wish, drained).length === 0) {
          drained.push(wish)
          expect([...before].filter((one) => !servedIn(text, drained).has(one))).toEqual([])
        }
    }),
    { numRuns: 200 },
  )
})
