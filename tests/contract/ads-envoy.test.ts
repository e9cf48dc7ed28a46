import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { runCli } from '#cli/run.ts'
import type { AdsLimits } from '#gateway/relay/limits.ts'
import { type ResourceSet, typeUrls } from '#mesh/model/resource.ts'
import { type RunningEnvoy, startAdsEnvoy } from '#tests/support/ads-envoy.ts'
import { nodeFor, startAdsRelay, type TestRelay, workload } from '#tests/support/ads-relay.ts'
import {
  badClusterOf,
  clusterOf,
  endpointsOf,
  halfMadeClusterOf,
  listenerOf,
  routeOf,
  setOf,
  tlsListenerOf,
  trustOf,
} from '#tests/support/ads-resources.ts'
import type { Holder } from '#tests/support/authorities.ts'
import { type FakeCluster, makeFakeCluster } from '#tests/support/fake-relay.ts'

let pki: FakeCluster
let shop: Holder
const toStop: (() => Promise<void>)[] = []

beforeAll(async () => {
  pki = await makeFakeCluster('a')
  shop = await workload(pki, 'shop', 'web')
})
afterEach(async () => {
  for (const stop of toStop.splice(0).reverse()) await stop()
})

async function start(apiType: 'DELTA_GRPC' | 'GRPC', first: ResourceSet, limits: Partial<AdsLimits> = {}) {
  const relay = await startAdsRelay(pki, first, limits)
  toStop.push(() => relay.server.close())
  const envoy = await startAdsEnvoy({
    port: relay.server.port,
    apiType,
    relayRoots: pki.controlPlane.pem,
    chainPem: shop.pem + pki.issuing.pem,
    keyPem: shop.key.keyPem,
    node: nodeFor('web-1'),
  })
  toStop.push(envoy.stop)
  return { relay, envoy }
}

async function eventually(envoy: RunningEnvoy, what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + 15_000; !(await holds()); await delay(20))
    if (Date.now() > end) throw new Error(`never: ${what}; Envoy says ${(await envoy.log()).slice(-3000)}`)
}

const services = (count: number) =>
  Array.from({ length: count }, (_, i) => [clusterOf(`c${i}`), endpointsOf(`c${i}`, [i + 1])]).flat()
const road = () => [listenerOf('in', 0, 'r'), routeOf('r', 'c0')]
const inSync = (relay: TestRelay) => {
  const [proxy] = relay.server.status().proxies
  return (
    proxy !== undefined &&
    ['cluster', 'endpoint', 'listener', 'route'].every((type) => proxy.types[type]?.state === 'SYNCED')
  )
}
const ready = (envoy: RunningEnvoy) =>
  eventually(envoy, 'ready', async () => (await envoy.admin('/ready')).startsWith('LIVE'))

describe.each(['DELTA_GRPC', 'GRPC'] as const)('a real Envoy, %s', (apiType) => {
  test('becomes ready, and follows every kind of change', async () => {
    const { relay, envoy } = await start(apiType, setOf(...services(20), ...road()))
    await ready(envoy)
    expect(relay.server.status().proxies[0]).toMatchObject({
      id: nodeFor('web-1').id,
      identity: 'a.mesh1/ns/shop/sa/web',
    })
    await eventually(envoy, 'in sync', () => inSync(relay))

    const pushes = () => ({ ...relay.server.observables().resources })
    const before = pushes()
    const next = setOf(...services(20), endpointsOf('c7', [7001, 7002]), ...road())
    relay.set(next)
    await eventually(envoy, 'endpoint', async () => (await envoy.admin('/clusters')).includes('c7::127.0.0.1:7002'))
    expect((pushes()[typeUrls.endpoint] ?? 0) - (before[typeUrls.endpoint] ?? 0)).toBe(1)
    expect(pushes()[typeUrls.cluster]).toBe(before[typeUrls.cluster])

    // A replaced cluster warms again at once: its endpoints come without being asked for.
    relay.set(setOf(...services(20), clusterOf('c3', '3s'), ...road()))
    await eventually(envoy, 'warm', async () => (await envoy.stat('cluster_manager.cluster_modified')) === 1)
    await eventually(envoy, 'none warming', async () => (await envoy.stat('cluster_manager.warming_clusters')) === 0)
    await eventually(envoy, 'in sync', () => inSync(relay))

    relay.set(
      setOf(...services(18), clusterOf('new'), endpointsOf('new', [1]), listenerOf('in', 0, 'r'), routeOf('r', 'new')),
    )
    await eventually(envoy, 'removed', async () => (await envoy.stat('cluster_manager.active_clusters')) === 20)
    await eventually(envoy, 'in sync', () => inSync(relay))
    expect(await envoy.admin('/config_dump?resource=dynamic_route_configs')).toContain('"cluster": "new"')
    expect(relay.nacks).toEqual([])
  })

  test('is served the secrets that its listeners name; a changed one comes alone', async () => {
    const tls = { chainPem: shop.pem + pki.issuing.pem, keyPem: shop.key.keyPem }
    const listeners = ['s1', 's2'].map((trust) => tlsListenerOf(`in-${trust}`, 'r', { trust, ...tls }))
    const set = (roots: string) =>
      setOf(...services(2), ...listeners, routeOf('r', 'c0'), trustOf('s1', roots), trustOf('s2', pki.root.pem))
    const { relay, envoy } = await start(apiType, set(pki.root.pem))
    await ready(envoy)
    expect(await envoy.stat('listener_manager.total_listeners_active')).toBe(2)
    await eventually(envoy, 'in sync', () => inSync(relay))
    const sent = { ...relay.server.observables().resources }
    relay.set(set(pki.controlPlane.pem))
    await eventually(envoy, 'the new roots', async () => (await envoy.stat('sds.s1.update_success')) === 2)
    await eventually(envoy, 'in sync', () => inSync(relay))
    expect(relay.server.observables().resources).toEqual({
      ...sent,
      [typeUrls.secret]: (sent[typeUrls.secret] ?? 0) + 1,
    })
    expect(await envoy.stat('sds.s2.update_success')).toBe(1)
    expect(await envoy.stat('listener_manager.listener_modified')).toBe(0)
    expect(relay.nacks).toEqual([])
  })

  test('refuses one cluster: all the others arrive, the last good one stays, the next version is taken', async () => {
    const { relay, envoy } = await start(apiType, setOf(...services(20), ...road()))
    await ready(envoy)
    await eventually(envoy, 'in sync', () => inSync(relay))
    relay.set(setOf(...services(30), badClusterOf('c7'), ...road()))
    await eventually(envoy, 'the others', async () => (await envoy.stat('cluster_manager.active_clusters')) === 31)
    await eventually(envoy, 'set aside', () => relay.server.status().quarantined.length > 0)
    expect(relay.server.status().quarantined).toMatchObject([
      { name: 'c7', owner: 'service shop/c7', everywhere: false },
    ])
    expect(await envoy.admin('/clusters')).toContain('c7::127.0.0.1:8')
    expect(relay.nacks[0]?.detail).toContain('c7')
    relay.set(setOf(...services(30), clusterOf('c7', '9s'), ...road()))
    await eventually(envoy, 'mended', async () => (await envoy.stat('cluster_manager.cluster_modified')) > 0)
    await eventually(envoy, 'in sync', () => inSync(relay))
  })
})

test('a real Envoy that never answers for a half made cluster: the rest goes on, and the next version mends it', async () => {
  const { relay, envoy } = await start('DELTA_GRPC', setOf(...services(5), ...road()), { overdueMs: 1000 })
  await ready(envoy)
  await eventually(envoy, 'in sync', () => inSync(relay))
  relay.set(setOf(...services(6), halfMadeClusterOf('c3'), listenerOf('in', 0, 'r'), routeOf('r', 'c1')))
  await eventually(envoy, 'rejected', async () => (await envoy.stat('cluster_manager.cds.update_rejected')) === 1)
  const routes = '/config_dump?resource=dynamic_route_configs'
  await eventually(envoy, 'the route', async () => (await envoy.admin(routes)).includes('"cluster": "c1"'))
  expect(await envoy.stat('cluster_manager.warming_clusters')).toBe(1)
  relay.set(setOf(...services(6), clusterOf('c3', '5s'), ...road()))
  await eventually(envoy, 'mended', async () => (await envoy.stat('cluster_manager.warming_clusters')) === 0)
  await eventually(envoy, 'in sync', () => inSync(relay))
})

test('a real Envoy that comes back with everything is sent nothing', async () => {
  const { relay, envoy } = await start('DELTA_GRPC', setOf(...services(20), ...road()))
  await ready(envoy)
  await eventually(envoy, 'in sync', () => inSync(relay))
  const before = { ...relay.server.observables().resources }
  const dialled = await envoy.stat('cluster.xds-grpc.upstream_cx_total')
  relay.server.cut()
  await eventually(envoy, 'gone', () => relay.server.observables().streams === 0)
  await eventually(envoy, 'back', () => relay.server.status().proxies.length === 1)
  await eventually(envoy, 'in sync', () => inSync(relay))
  // On the connection that it had it would find the same replica of a relay.
  expect(await envoy.stat('cluster.xds-grpc.upstream_cx_total')).toBeGreaterThan(dialled)
  expect(relay.server.observables().resources).toEqual(before)
  relay.set(setOf(...services(21), ...road()))
  await eventually(envoy, 'the next change', async () => (await envoy.stat('cluster_manager.active_clusters')) === 22)
  expect(relay.server.observables().resources[typeUrls.cluster]).toBe((before[typeUrls.cluster] ?? 0) + 1)
})

test('a real Envoy refuses a cluster on its first day: it still becomes ready with the rest', async () => {
  const { relay, envoy } = await start('DELTA_GRPC', setOf(...services(10), badClusterOf('c7'), ...road()))
  await ready(envoy)
  expect(await envoy.stat('cluster_manager.active_clusters')).toBe(10)
  expect(relay.server.status().proxies[0]?.types['cluster']).toMatchObject({
    state: 'NACK',
    setAside: [{ name: 'c7' }],
  })
  const said = await proxiesOf(relay)
  expect(said).toMatch(/^CLUSTER +PROXY +KIND +ENVOY +CDS +EDS +LDS +RDS +SDS/)
  expect(said).toMatch(/\nmilan-1 +web-1\.shop +sidecar +1\.40\.\d+\S* +NACK +SYNCED +SYNCED +SYNCED/)
  expect(said).toMatch(
    /\nNot in step\n {2}milan-1 {2}web-1\.shop {2}CDS {2}NACK {2}[^\n?]*name: "c7"[^\n?]*MaxEjectionPercent: value must be[^\n?]*set aside: c7 \(of service shop\/c7\)\n$/,
  )
})

/** What `isthmus proxies` says of this relay's Envoys. */
async function proxiesOf(relay: TestRelay): Promise<string> {
  const home = mkdtempSync(join(tmpdir(), 'isthmus-proxies-'))
  toStop.push(async () => rmSync(home, { recursive: true, force: true }))
  mkdirSync(join(home, 'isthmus'))
  const contexts = { one: { url: 'https://centre.test:7400', relays: { 'milan-1': 'http://milan-1.test:15014' } } }
  writeFileSync(join(home, 'isthmus/config.yaml'), JSON.stringify({ current: 'one', contexts }))
  let [out, err] = ['', '']
  await runCli(['proxies'], {
    ...{ env: { XDG_CONFIG_HOME: home }, now: Date.now, colour: false },
    out: (text) => (out += text),
    err: (text) => (err += text),
    send: async () => ({ status: 200, text: JSON.stringify(relay.server.status()) }),
  })
  expect(err).toBe('')
  return out
}

test('calls through a real Envoy go on while their cluster is replaced by another, again and again', async () => {
  const backends = await Promise.all(['one', 'two'].map(httpServer))
  const port = await freePort()
  const stage = (i: number) => {
    const backend = backends[i % 2] ?? 0
    const name = `stage-${i}`
    return setOf(clusterOf(name), endpointsOf(name, [backend]), listenerOf('in', port, 'r'), routeOf('r', name))
  }
  const { relay, envoy } = await start('DELTA_GRPC', stage(0))
  await ready(envoy)
  const seen = new Map<string, number>()
  let calling = true
  const caller = async () => {
    while (calling) {
      const response = await fetch(`http://127.0.0.1:${port}/`)
      const said = response.ok ? await response.text() : `${response.status}`
      seen.set(said, (seen.get(said) ?? 0) + 1)
    }
  }
  const callers = [caller(), caller()]
  for (let i = 1; i <= 20; i += 1) {
    relay.set(stage(i))
    await eventually(envoy, 'in sync', () => inSync(relay))
    await delay(20)
  }
  calling = false
  await Promise.all(callers)
  expect([...seen.keys()].toSorted()).toEqual(['one', 'two'])
  const clusters = async () => (await envoy.stat('cluster_manager.active_clusters')) === 2
  await eventually(envoy, 'of all the clusters only the last one is left', clusters)
})

async function httpServer(says: string): Promise<number> {
  const server = createServer((_, response) => response.end(says))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  toStop.push(async () => void server.close())
  return portOf(server)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const port = portOf(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}
