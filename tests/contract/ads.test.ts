import { connect as connectTcp } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { Client, credentials } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { AdsServer } from '#gateway/relay/server.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { relayServingNames } from '#mesh/trust/names.ts'
import {
  type AdsMode,
  openDeaf,
  openProxy,
  openRaw,
  type ProxyOptions,
  type RawStream,
} from '#tests/support/ads-client.ts'
import { dialOf, nodeFor, serving, startAdsRelay, workload } from '#tests/support/ads-relay.ts'
import { clusterOf, endpointsOf, listenerOf, routeOf, setOf } from '#tests/support/ads-resources.ts'
import { domain, type Holder, make } from '#tests/support/authorities.ts'
import { type FakeCluster, makeFakeCluster } from '#tests/support/fake-relay.ts'

let pki: FakeCluster
let shop: Holder
let other: Holder
const streams: RawStream[] = []
const servers: AdsServer[] = []

beforeAll(async () => {
  pki = await makeFakeCluster('a')
  shop = await workload(pki, 'shop', 'web')
  other = await workload(pki, 'shop', 'api')
})
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close()
  for (const server of servers.splice(0)) await server.close()
})
afterAll(() => expect(servers).toEqual([]))

const start = async (...args: Parameters<typeof startAdsRelay> extends [unknown, ...infer Rest] ? Rest : never) => {
  const relay = await startAdsRelay(pki, ...args)
  servers.push(relay.server)
  return relay
}
const dial = (server: AdsServer, mode: AdsMode, holder: Holder | undefined = shop) => dialOf(pki, server, mode, holder)
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

  test('a client that refuses without end is sent so many responses a second', async () => {
    const { server } = await start(many(40), { nacksPerSecond: 4 })
    const began = performance.now()
    proxy(server, mode, { node: nodeFor('bad'), refuses: () => 'no' })
    await eventually(() => server.observables().nacks >= 8)
    const seconds = Math.ceil((performance.now() - began) / 1000)
    expect(server.observables().nacks).toBeLessThanOrEqual((seconds + 1) * 5)
  })

  test('refused by two identities: whoever holds nothing still judges for itself', async () => {
    const { server } = await start(small())
    const refuses = (_: string, name: string) => (name === 'b' ? 'bad b' : undefined)
    proxy(server, mode, { node: nodeFor('web-1'), refuses })
    proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: other, refuses })
    await eventually(() => server.status().quarantined.some((q) => q.name === 'b' && q.everywhere))
    const third = proxy(server, mode, {
      node: { ...nodeFor('db-1', 'db') },
      holder: await workload(pki, 'shop', 'db'),
    })
    await third.ready
    await third.until(() => third.names(typeUrls.cluster).length === 2)
    // One of the liars, come back with nothing, is not offered it again.
    const liar = proxy(server, mode, { node: nodeFor('web-2') })
    await liar.ready
    expect(liar.names(typeUrls.cluster)).toEqual(['a'])
  })

  test('refused by two identities: whoever holds an earlier version is not offered it, and gets the next', async () => {
    const next = (seconds: string, count = 3) => ({
      ...many(count),
      [typeUrls.cluster]: new Map(many(count)[typeUrls.cluster]).set('c1', clusterOf('c1', seconds)),
    })
    const all = { first: next('1s'), late: next('1s') }
    const resourcesFor =
      ({ identity }: { identity: { serviceAccount: string } }) =>
      () =>
        identity.serviceAccount === 'db' ? all.late : all.first
    const { server } = await start({}, {}, { resourcesFor })
    const bytesOf = (seconds: string) => Buffer.from(clusterOf('c1', seconds).bytes)
    const refuses = (type: string, name: string, bytes: Uint8Array) =>
      type === typeUrls.cluster && bytesOf('7s').equals(Buffer.from(bytes))
        ? `Error adding cluster ${name}: no`
        : undefined
    const holder = await workload(pki, 'shop', 'db')
    const third = proxy(server, mode, { node: nodeFor('db-1', 'db'), holder, refuses })
    const others = [
      proxy(server, mode, { node: nodeFor('web-1'), refuses }),
      proxy(server, mode, { node: nodeFor('api-1', 'api'), holder: other, refuses }),
    ]
    await Promise.all([third, ...others].map((client) => client.ready))
    all.first = next('7s')
    server.changed()
    await eventually(() => server.status().quarantined.some((q) => q.name === 'c1' && q.everywhere))
    const holds = (seconds: string) =>
      bytesOf(seconds).equals(Buffer.from(third.memory.held.get(typeUrls.cluster)?.get('c1')?.bytes ?? []))

    all.late = next('7s', 4)
    server.changed()
    await third.until(() => third.names(typeUrls.endpoint).includes('c3'))
    expect(holds('1s')).toBe(true)
    expect(third.wire.join()).not.toContain('nack')
    all.late = next('8s', 4)
    server.changed()
    await third.until(() => holds('8s'))
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

describe('who may connect', () => {
  const web = 'spiffe://a.mesh1/ns/shop/sa/web'
  const ask = (stream: RawStream, node = nodeFor('web-1')) => stream.ask({ typeUrl: typeUrls.cluster, node })
  const endOf = async (stream: RawStream) => {
    ask(stream)
    stream.call.on('data', () => undefined)
    return stream.ended
  }

  test('a token does where there is no certificate', async () => {
    const { server } = await start(small())
    const client = proxy(server, 'delta', { certificate: undefined, headers: { authorization: `Bearer ${web}` } })
    await client.ready
    expect(server.status().proxies[0]?.identity).toBe('a.mesh1/ns/shop/sa/web')
  })

  test('neither: refused, before anything is read', async () => {
    const { server } = await start(small())
    const stream = raw(server, 'delta', { certificate: undefined })
    stream.call.write(Buffer.from('no message at all'))
    stream.call.on('data', () => undefined)
    expect(await stream.ended).toEqual({ code: 16, details: 'authentication failure' })
  })

  test('a certificate of other authorities is none', async () => {
    const { server } = await start(small())
    const stranger = await makeFakeCluster('a')
    const theirs = await workload(stranger, 'shop', 'web')
    const certificate = { chainPem: theirs.pem + stranger.issuing.pem, keyPem: theirs.key.keyPem }
    expect(await endOf(raw(server, 'delta', { certificate }))).toMatchObject({ code: 16 })
  })

  test('a node that names another account or namespace hears one bland sentence', async () => {
    const { server } = await start(small())
    for (const node of [
      nodeFor('web-1', 'api'),
      { ...nodeFor('web-1'), metadata: { NAMESPACE: 'bank', SERVICE_ACCOUNT: 'web' } },
      { ...nodeFor('web-1'), id: 'sidecar~10.0.0.1~web-1.bank~bank.svc.cluster.local', metadata: {} },
    ]) {
      const stream = raw(server, 'delta')
      ask(stream, node as ReturnType<typeof nodeFor>)
      stream.call.on('data', () => undefined)
      expect(await stream.ended).toEqual({
        code: 7,
        details: 'authorization failed: the node does not match the identity of the connection',
      })
    }
    expect(server.observables().refusedStreams).toMatchObject({ 'node-mismatch': 3, unauthenticated: 0 })
  })

  test.each([
    ['no node', undefined],
    ['three parts', { ...nodeFor('w'), id: 'sidecar~10.0.0.1~web' }],
    ['an unknown kind', { ...nodeFor('w'), id: 'toaster~10.0.0.1~w.shop~shop.svc.cluster.local' }],
    ['much metadata', { ...nodeFor('w'), metadata: { NAMESPACE: 'shop', x: 'y'.repeat(300_000) } }],
  ])('a node that is none is refused: %s', async (_, node) => {
    const { server } = await start(small())
    const stream = raw(server, 'delta')
    stream.ask({ typeUrl: typeUrls.cluster, ...(node && { node: node as ReturnType<typeof nodeFor> }) })
    stream.call.on('data', () => undefined)
    expect(await stream.ended).toMatchObject({ code: 3 })
    expect(server.observables().refusedStreams).toMatchObject({ invalid: 1, 'node-mismatch': 0 })
  })
})

describe('a client that comes back', () => {
  test('with everything: nothing is sent, and the next change is', async () => {
    const { server, set } = await start(small())
    const first = proxy(server, 'delta')
    await first.ready
    first.close()
    await eventually(() => server.observables().streams === 0)
    const before = { ...server.observables().resources }
    const second = proxy(server, 'delta', { memory: first.memory })
    await eventually(() => Object.keys(server.status().proxies[0]?.types ?? {}).length === 4)
    expect(server.observables().pendingTypes).toBe(0)
    expect(second.wire).toEqual(['> cds again', '> eds again', '> lds again', '> rds again'])
    expect(server.observables().resources).toEqual(before)
    set(setOf(clusterOf('a'), endpointsOf('a', [9]), listenerOf('in', 10_000, 'r'), routeOf('r', 'a')))
    await second.until(() => second.wire.includes('< cds -b'))
    expect(second.wire.filter((line) => line.startsWith('<'))).toEqual(['< eds a', '< cds -b'])
  })

  test('with some of it old: only that is sent', async () => {
    const { server } = await start(small())
    const first = proxy(server, 'delta')
    await first.ready
    first.close()
    const clusters = first.memory.held.get(typeUrls.cluster)
    clusters?.set('gone', { version: 'x', bytes: new Uint8Array() }).set('b', { version: '', bytes: new Uint8Array() })
    const second = proxy(server, 'delta', { memory: first.memory })
    await second.until(() => second.wire.includes('< cds -gone') && second.wire.includes('< eds b'))
    expect(second.wire.filter((line) => line.startsWith('<')).toSorted()).toEqual(['< cds -gone', '< cds b', '< eds b'])
  })

  test('state of the world: is answered in full, whatever nonce it remembers', async () => {
    const { server } = await start(small())
    const stream = raw(server, 'sotw')
    const answers: Buffer[] = []
    stream.call.on('data', (bytes: Buffer) => answers.push(bytes))
    stream.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1'), responseNonce: 'from another life' })
    await eventually(() => answers.length === 1)
  })

  test('again and again: it is slowed down, others are not', async () => {
    const { server } = await start(small(), { opensBurst: 5, opensPerSecond: 1 })
    const codes: number[] = []
    for (let i = 0; i < 8; i += 1) {
      const stream = raw(server, 'delta')
      stream.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
      const first = await Promise.race([
        new Promise<number>((resolve) => stream.call.once('data', () => resolve(0))),
        stream.ended.then(({ code }) => code),
      ])
      codes.push(first)
      stream.close()
    }
    expect(codes).toEqual([0, 0, 0, 0, 0, 8, 8, 8])
    await proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: other }).ready
    // The same node id by another identity is another proxy.
    await proxy(server, 'delta', { node: nodeFor('web-1', 'api'), holder: other }).ready
  })

  test('more streams than one identity may have: refused by name, until one ends; others are not', async () => {
    const { server } = await start(small(), { streamsPerIdentity: 2 })
    const [first, second] = ['web-1', 'web-2'].map((pod) => proxy(server, 'delta', { node: nodeFor(pod) }))
    await Promise.all([first?.ready, second?.ready])
    const third = raw(server, 'delta')
    third.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-3') })
    expect(await third.ended).toMatchObject({ code: 8, details: expect.stringContaining('/sa/web has its 2 streams') })
    await proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: other }).ready
    first?.close()
    await eventually(() => server.observables().streams === 2)
    await proxy(server, 'delta', { node: nodeFor('web-4') }).ready
  })

  test('what it refused is not offered to it again', async () => {
    const { server } = await start(small())
    let refusals = 0
    const refuses = (_: string, name: string) => {
      if (name !== 'b') return undefined
      refusals += 1
      return 'b is bad'
    }
    for (let i = 0; i < 3; i += 1) {
      const client = proxy(server, 'delta', { refuses })
      await client.until(
        () => client.names(typeUrls.cluster).includes('a') && client.names(typeUrls.listener).length > 0,
      )
      client.close()
      await eventually(() => server.observables().streams === 0)
    }
    expect(refusals).toBe(1)
  })
})

describe('the server', () => {
  test('response headers come before any message', async () => {
    const { server } = await start(undefined)
    const stream = raw(server, 'delta')
    await new Promise((resolve) => stream.call.once('metadata', resolve))
  })

  test('types it does not serve are not answered and do not break the stream', async () => {
    const { server } = await start(small())
    const stream = raw(server, 'delta')
    stream.ask({ typeUrl: 'type.googleapis.com/istio.v1.HealthInformation' })
    stream.ask({ typeUrl: 'type.googleapis.com/istio.networking.nds.v1.NameTable', node: nodeFor('web-1') })
    stream.ask({ typeUrl: typeUrls.cluster })
    await new Promise((resolve) => stream.call.once('data', resolve))
    expect(server.observables().streams).toBe(1)
  })

  test('a message that is none, or too large, ends its stream alone', async () => {
    const { server } = await start(small(), { messageBytes: 100_000 })
    const honest = proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: other })
    await honest.ready
    for (const bytes of [Buffer.from([0x0a, 0xff, 0xff]), Buffer.alloc(200_000, 1)]) {
      const stream = raw(server, 'delta')
      stream.call.on('data', () => undefined)
      stream.call.write(bytes)
      expect([8, 13]).toContain((await stream.ended).code)
    }
    expect(server.observables().streams).toBe(1)
  })

  test('a new certificate is shown to new connections, and open streams stay', async () => {
    const { server, set } = await start(small())
    const client = proxy(server, 'delta')
    await client.ready
    const shown = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connectTls(server.port, '127.0.0.1', { ca: pki.controlPlane.pem, ALPNProtocols: ['h2'] }, () => {
          resolve(socket.getPeerCertificate().serialNumber)
          socket.destroy()
        })
        socket.on('error', reject)
      })
    const before = await shown()
    const names = relayServingNames(domain('a'), { asIstiod: false, ips: ['127.0.0.1'] })
    const next = await make({ profile: 'relay-serving', names, by: pki.controlPlane })
    expect(() => server.rotate({ ...serving(pki, next), key: 'no key' })).toThrow('do not make a TLS context')
    expect(await shown()).toBe(before)
    server.rotate(serving(pki, next))
    expect(await shown()).not.toBe(before)
    set(setOf(clusterOf('a'), endpointsOf('a', [5]), listenerOf('in', 10_000, 'r'), routeOf('r', 'a')))
    await client.until(() => client.wire.includes('< eds a'))
    await proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: other }).ready
  })

  test('new client roots hold for new connections', async () => {
    const { server } = await start(small())
    const next = await makeFakeCluster('a')
    const theirs = await workload(next, 'shop', 'web')
    const certificate = { chainPem: theirs.pem + next.issuing.pem, keyPem: theirs.key.keyPem }
    server.rotate({ ...serving(pki), clientCas: pki.root.pem + next.root.pem })
    await proxy(server, 'delta', { certificate }).ready
    server.rotate({ ...serving(pki), clientCas: next.root.pem })
    const old = raw(server, 'delta')
    old.call.on('data', () => undefined)
    expect(await old.ended).toMatchObject({ code: 16 })
  })

  test('a taken address is named, and a second address gets the same port', async () => {
    const { server } = await start(
      small(),
      {},
      {
        listen: [
          { host: '127.0.0.1', port: 0 },
          { host: '127.0.0.9', port: 0 },
        ],
      },
    )
    expect(server.addresses).toEqual([
      { host: '127.0.0.1', port: server.port },
      { host: '127.0.0.9', port: server.port },
    ])
    const clash = start(small(), {}, { listen: [{ host: '127.0.0.9', port: server.port }] })
    await expect(clash).rejects.toThrow(`the relay cannot listen on 127.0.0.9:${server.port}: `)
  })

  test('a connection that says nothing is closed, one per address too many is not taken', async () => {
    const { server } = await start(small(), { silentMs: 200, connectionsPerAddress: 2 })
    const closed = () =>
      new Promise<void>((resolve) => {
        connectTcp(server.port, '127.0.0.1')
          .on('error', () => undefined)
          .on('close', () => resolve())
          .resume()
      })
    const two = [closed(), closed()]
    await eventually(() => server.observables().connections === 2)
    await closed()
    expect(server.observables().connections).toBe(2)
    await Promise.all(two)
    await eventually(() => server.observables().connections === 0)
  })

  test('changes while a response is on its way make one more, with the newest state', async () => {
    const { server, set, samples } = await start(many(3))
    const client = proxy(server, 'delta')
    await client.ready
    const before = server.observables().pushes[typeUrls.endpoint] ?? 0
    for (let port = 1; port <= 100; port += 1)
      set(setOf(...[0, 1, 2].flatMap((i) => [clusterOf(`c${i}`), endpointsOf(`c${i}`, [port + 1000])])))
    const newest = Buffer.from(endpointsOf('c1', [1100]).bytes)
    await client.until(() =>
      newest.equals(client.memory.held.get(typeUrls.endpoint)?.get('c1')?.bytes ?? Buffer.alloc(0)),
    )
    expect((server.observables().pushes[typeUrls.endpoint] ?? 0) - before).toBeLessThanOrEqual(2)
    await eventually(() => samples.some((sample) => sample.type === typeUrls.endpoint))
  })

  test('another service answers on the same port', async () => {
    const asIs = (bytes: Buffer) => bytes
    const path = '/shop.Echo/Say'
    const { server } = await start(
      small(),
      {},
      { methods: { [path]: { kind: 'unary', answer: async (bytes) => bytes } } },
    )
    const client = new Client(`127.0.0.1:${server.port}`, credentials.createSsl(Buffer.from(pki.controlPlane.pem)))
    const answer = await new Promise((resolve, reject) =>
      client.makeUnaryRequest(path, asIs, asIs, Buffer.from('hello'), (e, bytes) =>
        e ? reject(e) : resolve(`${bytes}`),
      ),
    )
    client.close()
    expect(answer).toBe('hello')
  })

  test('going down, it asks its clients to dial again', async () => {
    const { server } = await start(small())
    const client = proxy(server, 'delta')
    await client.ready
    servers.splice(servers.indexOf(server), 1)
    await server.close()
    expect(await client.ended).toMatchObject({ code: 14 })
  })
})
