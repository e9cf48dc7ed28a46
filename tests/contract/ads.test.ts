import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { NackReport } from '#gateway/relay/hub.ts'
import type { AdsLimits } from '#gateway/relay/limits.ts'
import { type AdsOptions, type AdsServer, serveAds } from '#gateway/relay/server.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type ResourceSet, typeUrls } from '#mesh/model/resource.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { parseSpiffeId } from '#mesh/trust/spiffe-id.ts'
import {
  type AdsMode,
  openDeaf,
  openProxy,
  openRaw,
  type ProxyOptions,
  type RawStream,
} from '#tests/support/ads-client.ts'
import { clusterOf, endpointsOf, listenerOf, routeOf, setOf } from '#tests/support/ads-resources.ts'
import { type Holder, make } from '#tests/support/authorities.ts'
import { type FakeCluster, makeFakeCluster } from '#tests/support/fake-relay.ts'

let pki: FakeCluster
let shop: Holder
let other: Holder
const streams: RawStream[] = []
const servers: AdsServer[] = []

beforeAll(async () => {
  pki = await makeFakeCluster('a')
  shop = await workload('shop', 'web')
  other = await workload('shop', 'api')
})
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close()
  for (const server of servers.splice(0)) await server.close()
})
afterAll(() => expect(servers).toEqual([]))

const workload = (namespace: string, account: string) =>
  make({
    profile: 'workload',
    names: identityNames(parseSpiffeId(`spiffe://a.mesh1/ns/${namespace}/sa/${account}`)),
    by: pki.issuing,
  })
const serving = (holder = pki.serving) => ({
  cert: holder.pem + pki.controlPlane.pem,
  key: holder.key.keyPem,
  clientCas: pki.root.pem,
})

type Started = { readonly server: AdsServer; set: (next: ResourceSet) => void; readonly nacks: NackReport[] }

async function start(
  first: ResourceSet | undefined,
  limits: Partial<AdsLimits> = {},
  more: Partial<AdsOptions> = {},
): Promise<Started> {
  let current = first
  const nacks: NackReport[] = []
  const server = await serveAds({
    listen: [{ host: '127.0.0.1', port: 0 }],
    serving: serving(),
    resourcesFor: () => current,
    authenticate: async ({ certificateUris, bearerToken }) => {
      const uri = bearerToken ?? (certificateUris.length === 1 ? certificateUris[0] : undefined)
      const match = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(uri ?? '')
      const [, trustDomain = '', namespace = '', serviceAccount = ''] = match ?? []
      if (!match) throw new Problem('unauthenticated', 'authentication failure')
      return { trustDomain, namespace, serviceAccount }
    },
    log: { info: () => undefined, warn: () => undefined },
    onNack: (report) => nacks.push(report),
    limits,
    ...more,
  })
  servers.push(server)
  const set = (next: ResourceSet) => {
    current = next
    server.changed()
  }
  return { server, set, nacks }
}

const nodeFor = (pod: string, account = 'web') => ({
  id: `sidecar~10.0.0.1~${pod}.shop~shop.svc.cluster.local`,
  cluster: 'web.shop',
  metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: account },
})
const dial = (server: AdsServer, mode: AdsMode, holder: Holder | undefined = shop) => ({
  port: server.port,
  mode,
  relayRoots: pki.controlPlane.pem,
  ...(holder && { certificate: { chainPem: holder.pem + pki.issuing.pem, keyPem: holder.key.keyPem } }),
})
function proxy(server: AdsServer, mode: AdsMode, more: Partial<ProxyOptions> & { readonly holder?: Holder } = {}) {
  const opened = openProxy({ ...dial(server, mode, more.holder), node: nodeFor('web-1'), ...more })
  streams.push(opened)
  return opened
}
function raw(server: AdsServer, mode: AdsMode, more: object = {}) {
  const opened = openRaw({ ...dial(server, mode), ...more })
  streams.push(opened)
  return opened
}

const small = () =>
  setOf(
    clusterOf('a'),
    endpointsOf('a', [1]),
    listenerOf('in', 10_000, 'r'),
    routeOf('r', 'a'),
    clusterOf('b'),
    endpointsOf('b', [2]),
  )
const many = (count: number) =>
  setOf(...Array.from({ length: count }, (_, i) => [clusterOf(`c${i}`), endpointsOf(`c${i}`, [i + 1])]).flat())

/** Sixty-four clusters of 16 KiB. */
const big = (tag: string) =>
  setOf(
    ...Array.from({ length: 64 }, (_, i) => ({
      ...clusterOf(`c${i}`),
      version: `${tag}${i}`,
      bytes: Buffer.concat([
        clusterOf(`c${i}`).bytes,
        Buffer.from([0xe2, 0x01, 0x80, 0x80, 0x01]),
        Buffer.alloc(16_384, tag),
      ]),
    })),
  )

async function eventually(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds(); await delay(5))
    if (Date.now() > end) throw new Error(`never: ${holds}`)
}

describe.each(['delta', 'sotw'] as const)('%s', (mode) => {
  test('a proxy gets ready, in the recorded order', async () => {
    const { server } = await start(small())
    const client = proxy(server, mode)
    await client.ready
    const whole = client.wire.filter((line) => line !== '> rds ack')
    expect(whole).toEqual([
      ...['> cds', '< cds a,b', '> eds +a,+b', '> cds ack', '< eds a,b', '> eds ack'],
      ...['> lds', '< lds in', '> rds +r', '> lds ack', '< rds r'],
    ])
  })

  test('a gateway without listeners gets ready by an empty answer', async () => {
    const { server } = await start({})
    const client = proxy(server, mode)
    await client.ready
    expect(client.wire).toEqual(['> cds', '< cds', '> cds ack', '> lds', '< lds', '> lds ack'])
  })

  test('not known yet is not answered; what is known later arrives', async () => {
    const { server, set } = await start(undefined)
    const client = proxy(server, mode)
    await delay(50)
    expect(client.wire).toEqual(['> cds'])
    set(small())
    await client.ready
  })

  test('only what changed is sent', async () => {
    const { server, set } = await start(many(50))
    const client = proxy(server, mode)
    await client.ready
    const before = server.observables().resources
    const sent = { ...before }
    const next = many(50)
    set({ ...next, [typeUrls.endpoint]: new Map(next[typeUrls.endpoint]).set('c7', endpointsOf('c7', [999])) })
    await client.until(() => client.wire.at(-2) === '< eds c7')
    const after = server.observables().resources
    expect(
      Object.entries(after).flatMap(([type, n]) => (n === sent[type] ? [] : [[type, n - (sent[type] ?? 0)]])),
    ).toEqual([[typeUrls.endpoint, 1]])
  })

  test('a bad cluster: the others arrive, the last good one stays, the owner is named', async () => {
    const { server, set, nacks } = await start(many(30))
    const refuses = (type: string, name: string, bytes: Uint8Array) =>
      type === typeUrls.cluster && Buffer.from(bytes).equals(Buffer.from(clusterOf('c7', '7s').bytes))
        ? `Error adding/updating cluster(s) ${name}: no`
        : undefined
    const client = proxy(server, mode, { refuses })
    await client.ready
    const next = new Map(many(31)[typeUrls.cluster]).set('c7', clusterOf('c7', '7s'))
    set({ [typeUrls.cluster]: next, [typeUrls.endpoint]: many(31)[typeUrls.endpoint] ?? new Map() })
    await client.until(() => client.names(typeUrls.endpoint).includes('c30'))
    expect(client.memory.held.get(typeUrls.cluster)?.get('c7')?.bytes).toEqual(Buffer.from(clusterOf('c7').bytes))
    expect(nacks.flatMap((n) => n.quarantined)).toMatchObject([
      { name: 'c7', owner: 'service shop/c7', everywhere: false },
    ])
    const [status] = server.status().proxies
    expect(status?.types['cluster']).toMatchObject({
      state: 'NACK',
      setAside: [{ name: 'c7', owner: 'service shop/c7' }],
    })
    set(many(31))
    await eventually(() => server.status().proxies[0]?.types['cluster']?.state === 'SYNCED')
  })

  test('a client that refuses everything changes nothing for others', async () => {
    const { server, set } = await start({})
    proxy(server, mode, { node: nodeFor('bad'), refuses: () => 'no' })
    const honest = proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: other })
    await honest.ready
    set(many(40))
    await honest.until(() => honest.names(typeUrls.endpoint).length === 40)
    await eventually(() => server.status().quarantined.length === 40)
    expect(server.status().quarantined.every((q) => !q.everywhere)).toBe(true)
    const later = proxy(server, mode, { node: nodeFor('api-2', 'api'), holder: other })
    await later.ready
    expect(later.names(typeUrls.cluster)).toHaveLength(40)
  })

  test('refused by two identities: nobody else is offered it', async () => {
    const { server } = await start(small())
    const refuses = (_: string, name: string) => (name === 'b' ? 'bad b' : undefined)
    proxy(server, mode, { node: nodeFor('web-1'), refuses })
    proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: other, refuses })
    await eventually(() => server.status().quarantined.some((q) => q.name === 'b' && q.everywhere))
    const third = proxy(server, mode, {
      node: { ...nodeFor('db-1', 'db') },
      holder: await workload('shop', 'db'),
    })
    await third.ready
    expect(third.names(typeUrls.cluster)).toEqual(['a'])
  })

  test('more names than a stream may have: that stream ends, others go on', async () => {
    const { server } = await start(small())
    const honest = proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: other })
    await honest.ready
    const greedy = raw(server, mode)
    greedy.ask({
      typeUrl: typeUrls.endpoint,
      node: nodeFor('web-1'),
      resourceNamesSubscribe: Array.from({ length: 50_000 }, (_, i) => `outbound|80||svc-${i}.shop`),
    })
    expect(await greedy.ended).toMatchObject({ code: 8 })
    expect(server.observables().streams).toBe(1)
  })

  test('a client that never reads costs one response, and is closed in time', async () => {
    const { server, set } = await start(big('a'), { writeMs: 500 })
    const honest = proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: other })
    await honest.until(() => honest.names(typeUrls.cluster).length === 64)
    const stuck = openDeaf(dial(server, mode), { typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
    const bytes = () => server.observables().bytes[typeUrls.cluster] ?? 0
    await eventually(() => bytes() > 2_000_000)
    const before = bytes()
    for (const tag of 'bcdefghijklmnop') {
      set(big(tag))
      await eventually(() =>
        Buffer.from(honest.memory.held.get(typeUrls.cluster)?.get('c0')?.bytes ?? []).includes(tag.repeat(9)),
      )
    }
    expect(bytes() - before).toBeLessThan(15.5 * 1_060_000)
    await stuck.ended
    expect(server.status().proxies).toHaveLength(1)
    expect(honest.wire.length).toBeGreaterThan(30)
  })

  test('a client that reads and never answers is sent nothing more, and is closed in time', async () => {
    const { server, set } = await start(many(10), { answerMs: 500 })
    const silent = raw(server, mode)
    let answers = 0
    silent.call.on('data', () => {
      answers += 1
    })
    silent.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
    await eventually(() => answers === 1)
    for (let i = 0; i < 20; i += 1) set(many(i))
    expect(await silent.ended).toMatchObject({ code: 14 })
    expect(answers).toBe(1)
  })
})
