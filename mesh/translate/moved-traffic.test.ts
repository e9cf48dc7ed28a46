import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import { type ResourceSet, typeUrls } from '#mesh/model/resource.ts'
import type { Traffic } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { fleet, kinds } from '#mesh/translate/testdata/any-case.ts'
import { type CaseText, caseOf, readCase, trafficOf } from '#mesh/translate/testdata/case.ts'
import { jsonOf, resourcesOf } from '#mesh/translate/testdata/golden.ts'
import { createTranslator } from '#mesh/translate/translate.ts'

const versions = (set: ResourceSet) =>
  Object.values(typeUrls).flatMap((type) => resourcesOf(set, type).map((r) => `${type} ${r.name} ${r.version}`))
const render = (view: View, proxy: MeshProxy) => createTranslator().resourcesFor(view, proxy)

const line = fc.constantFrom('0 dead', '0 drain', '10 returning', '50 drain', '100 quota 0.3', '100 returning')
const admitted = fc.dictionary(fc.constantFrom('a', 'b', 'c'), line, { maxKeys: 3 })
const addresses = fc.record({
  b: fc.subarray(['127.22.0.2:15443', '127.22.0.3:15443', '127.22.0.4:15443']),
  c: fc.subarray(['127.23.0.2:15443']),
})
const anyTraffic = fc
  .record({
    clusters: admitted,
    services: fc.dictionary(fc.constantFrom('shop/svc1', 'shop/svc2', 'shop/svc3'), admitted, { maxKeys: 2 }),
    gatewaysDown: addresses,
    gatewaysDraining: addresses,
    peaks: fc.dictionary(fc.constantFrom('b shop/svc1 80', 'b shop/svc2 80', 'c shop/svc2 80'), fc.nat(5), {
      maxKeys: 2,
    }),
    closing: fc.oneof(fc.constant('all' as const), fc.subarray(['shop/svc1', 'shop/svc2', 'shop/svc3'])),
  })
  .map(trafficOf)

/** Some of the services have a policy. */
const ruledFleet = fc.tuple(fleet, fc.nat(3)).map(([text, nth]): CaseText => {
  const imports = Object.entries(text.config?.imports ?? {})
  const ruled = imports.map(([key, one], at) => [key, at % 4 <= nth ? { ...one, policy: {} } : one] as const)
  return { ...text, config: { members: [], ...text.config, imports: Object.fromEntries(ruled) } }
})

const addressesIn = (resource: Parameters<typeof jsonOf>[0]): readonly string[] =>
  JSON.stringify(jsonOf(resource)).match(/"address":"[^"]+","port_value":\d+/g) ?? []

test('where everything is admitted in full, every byte is as if nothing were said', () => {
  const full = trafficOf({
    clusters: { b: '100 returning', c: '100 quota 1' },
    services: { 'shop/svc1': { b: '100 returning' } },
    gatewaysDown: { b: [] },
    gatewaysDraining: { c: ['127.99.0.1:15443'] },
    peaks: { 'b shop/svc1 80': 3, 'c shop/svc1 80': 3 },
  })
  fc.assert(
    fc.property(fleet, fc.constantFrom(...kinds), (text, kind) => {
      const { view, proxy } = caseOf({ ...text, proxy: { ...text.proxy, ...kind } })
      expect(versions(render({ ...view, traffic: full }, proxy))).toEqual(versions(render(view, proxy)))
    }),
    { numRuns: 60 },
  )
})

test('whatever is said, nobody loses his last place to call, and no address is there twice', () => {
  fc.assert(
    fc.property(ruledFleet, anyTraffic, (text, traffic) => {
      const { view, proxy } = caseOf(text)
      const before = new Map(resourcesOf(render(view, proxy), typeUrls.endpoint).map((r) => [r.name, addressesIn(r)]))
      for (const resource of resourcesOf(render({ ...view, traffic }, proxy), typeUrls.endpoint)) {
        const found = addressesIn(resource)
        expect(found.toSorted()).toEqual([...new Set(found)].toSorted())
        expect([resource.name, found.toSorted()]).toEqual([resource.name, before.get(resource.name)?.toSorted()])
      }
    }),
    { numRuns: 80 },
  )
})

test('a translator that remembers gives what a new one gives, whatever moved before', () => {
  fc.assert(
    fc.property(
      ruledFleet,
      fc.array(anyTraffic, { minLength: 2, maxLength: 5 }),
      fc.constantFrom(...kinds),
      (text, all, kind) => {
        const { view, proxy } = caseOf({ ...text, proxy: { ...text.proxy, ...kind } })
        const translator = createTranslator()
        // Parts of one traffic are kept in the next, as a relay keeps those that did not change.
        const mixed = all.map(
          (one, at): Traffic => ({ ...one, clusters: all[at & 2 ? at - 1 : at]?.clusters ?? one.clusters }),
        )
        for (const traffic of [undefined, ...mixed, undefined]) {
          const now = traffic === undefined ? view : { ...view, traffic }
          expect(versions(translator.resourcesFor(now, proxy))).toEqual(versions(render(now, proxy)))
        }
      },
    ),
    { numRuns: 40 },
  )
})

test.each<[part: string, moved: Parameters<typeof trafficOf>[0]]>([
  ['a service', { services: { 'shop/x': { b: '50 drain' } } }],
  ['a cluster', { clusters: { b: '50 drain' } }],
  ['a gateway that died', { gatewaysDown: { b: ['127.22.0.2:15443'] } }],
  ['a gateway that is drained', { gatewaysDraining: { b: ['127.22.0.2:15443'] } }],
  ['pods that were lost', { peaks: { 'b shop/x 80': 4 } }],
])('one part alone moves what is kept: %s', (_, moved) => {
  const { view, proxy } = caseOf({
    ...{ cluster: 'a', region: 'r1' },
    config: {
      members: ['a', 'b', 'c'],
      imports: {
        'shop/x': {
          ...{ ports: ['http 80 http'], sources: ['b net-b r1 x', 'c net-c r1 x'] },
          ...{ tiers: [{ b: 1 }, { c: 1 }], policy: {} },
        },
      },
    },
    summaries: {
      b: { gateways: ['127.22.0.2:15443', '127.22.0.3:15443'], services: { 'shop/x': { counts: ['80 r1/ 2/4'] } } },
      c: { gateways: ['127.23.0.2:15443'], services: { 'shop/x': { counts: ['80 r1/ 2/2'] } } },
    },
    proxy: { id: 'sidecar~10.0.0.1~x.shop~shop.svc.cluster.local', account: 'x', metadata: {} },
  })
  const translator = createTranslator()
  const quiet = trafficOf({})
  const before = versions(translator.resourcesFor({ ...view, traffic: quiet }, proxy))
  const traffic = {
    ...quiet,
    ...Object.fromEntries(Object.keys(moved).map((key) => [key, trafficOf(moved)[key as never]])),
  }
  const after = versions(translator.resourcesFor({ ...view, traffic }, proxy))
  expect(after).not.toEqual(before)
  expect(after).toEqual(versions(render({ ...view, traffic }, proxy)))
  expect(versions(translator.resourcesFor({ ...view, traffic: quiet }, proxy))).toEqual(before)
})

test('what moves one service renders its endpoints anew and nothing else', () => {
  const { view, proxy } = readCase(join(import.meta.dirname, 'testdata/caller'))
  const translator = createTranslator()
  const quiet = trafficOf({})
  const before = translator.resourcesFor({ ...view, traffic: quiet }, proxy)
  const services = trafficOf({ services: { 'bookinfo/reviews': { b: '50 drain' } } }).services
  const after = translator.resourcesFor({ ...view, traffic: { ...quiet, services } }, proxy)
  for (const type of [typeUrls.cluster, typeUrls.listener, typeUrls.route, typeUrls.secret])
    expect(after[type]).toBe(before[type])
  const known = new Set(resourcesOf(before, typeUrls.endpoint))
  const moved = resourcesOf(after, typeUrls.endpoint).filter((resource) => !known.has(resource))
  expect(moved.map(({ name }) => name)).toEqual(['outbound|9080||reviews.bookinfo.svc.cluster.local'])
})

test('at the end of a drain the gateway answers for nothing that is closing, and for probes always', () => {
  const text: CaseText = {
    ...{ cluster: 'a', region: 'r1', exports: ['shop/x', 'shop/y'] },
    services: { 'shop/x': { ports: ['http 80 http'] }, 'shop/y': { ports: ['http 80 http'] } },
    config: {
      members: ['a', 'b'],
      exports: {
        'shop/x': { ports: ['http 80 http'], consumers: ['b'] },
        'shop/y': { ports: ['http 80 http'], consumers: ['b'] },
      },
    },
    proxy: { id: 'router~127.21.0.2~gw.shop~shop.svc.cluster.local', account: 'gw', metadata: {} },
  }
  const { view, proxy } = caseOf(text)
  const translator = createTranslator()
  const open = (closing: 'all' | readonly string[]) => {
    const set = translator.resourcesFor({ ...view, traffic: trafficOf({ closing }) }, proxy)
    return (JSON.stringify(resourcesOf(set, typeUrls.listener).map(jsonOf)).match(/"server_names":\["[^"]+/g) ?? [])
      .map((name) => name.replace(/.*"/, ''))
      .toSorted()
  }
  const [x, y] = ['x', 'y'].map((name) => `outbound_.80_._.${name}.shop.svc.cluster.local`)
  const probe = 'probe.a.mesh1'
  expect(open([])).toEqual([x, y, probe])
  expect(open(['shop/x'])).toEqual([y, probe])
  expect(open('all')).toEqual([probe])
  expect(open([])).toEqual([x, y, probe])
  // What is open lives on for the drain time, and is counted: its pods stay known.
  const closed = translator.resourcesFor({ ...view, traffic: trafficOf({ closing: 'all' }) }, proxy)
  expect(resourcesOf(closed, typeUrls.cluster).map(({ name }) => name)).toEqual([x, y])
})

test('one gateway closes while another of its cluster goes on', () => {
  const text: CaseText = {
    ...{ cluster: 'a', region: 'r1', exports: ['shop/x'], services: { 'shop/x': { ports: ['http 80 http'] } } },
    config: { members: ['a', 'b'], exports: { 'shop/x': { ports: ['http 80 http'], consumers: ['b'] } } },
    proxy: { id: 'router~127.21.0.2~gw.shop~shop.svc.cluster.local', account: 'gw', metadata: {} },
  }
  const { view, proxy } = caseOf(text)
  const own = {
    ...view,
    home: { ...view.home, gateways: [{ address: '127.21.0.2', port: 15443, state: 'ready' as const }] },
  }
  const chains = (closing: string) => {
    const traffic = { ...trafficOf({}), gatewaysClosing: new Set([sha256Hex(closing)]) }
    const set = createTranslator().resourcesFor({ ...own, traffic }, proxy)
    const [listener] = resourcesOf(set, typeUrls.listener).map(jsonOf)
    return JSON.stringify(listener).match(/"server_names":\["[^"]+/g)?.length
  }
  expect([chains('127.21.0.3:15443'), chains('127.21.0.2:15443')]).toEqual([2, 1])
})
