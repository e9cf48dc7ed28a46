import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { Client, credentials } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { typeUrls } from '#mesh/model/resource.ts'
import { relayServingNames } from '#mesh/trust/names.ts'
import type { RawStream } from '#tests/support/ads-client.ts'
import { nodeFor, serving, workload } from '#tests/support/ads-relay.ts'
import { clusterOf, endpointsOf, listenerOf, routeOf, setOf } from '#tests/support/ads-resources.ts'
import { adsRig, eventually, many, small } from '#tests/support/ads-rig.ts'
import { domain, make } from '#tests/support/authorities.ts'
import { makeFakeCluster } from '#tests/support/fake-relay.ts'

const { parties, proxy, raw, servers, start } = adsRig()

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
    const honest = proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: parties().other })
    await honest.ready
    for (const bytes of [Buffer.from([0x0a, 0xff, 0xff]), Buffer.alloc(200_000, 1)]) {
      const stream = raw(server, 'delta')
      stream.call.on('data', () => undefined)
      stream.call.write(bytes)
      expect([3, 13]).toContain((await stream.ended).code)
    }
    expect(server.observables().streams).toBe(1)
  })

  test('a fault of ours after a response has left ends that stream alone', async () => {
    const broken = {
      ...endpointsOf('c', [1]),
      get bytes(): Uint8Array {
        throw new Error('a resource that cannot be made')
      },
    }
    const clusters = Array.from({ length: 3000 }, (_, at) => clusterOf(`c${at}`))
    const { server } = await start(setOf(...clusters, broken))
    const stream = raw(server, 'delta')
    stream.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
    stream.ask({ typeUrl: typeUrls.endpoint, resourceNamesSubscribe: ['c'] })
    let isOver = false
    void stream.ended.then(() => {
      isOver = true
    })
    // It may have ended before anybody looks: then the first response left between the two requests.
    await eventually(() => isOver || Object.keys(server.status().proxies[0]?.types ?? {}).length === 2)
    stream.call.on('data', () => undefined)
    expect(await stream.ended).toMatchObject({ code: 13 })
  })

  test('a new certificate is shown to new connections, and open streams stay', async () => {
    const { server, set } = await start(small())
    const client = proxy(server, 'delta')
    await client.ready
    const shown = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connectTls(
          server.port,
          '127.0.0.1',
          { ca: parties().pki.controlPlane.pem, ALPNProtocols: ['h2'] },
          () => {
            resolve(socket.getPeerCertificate().serialNumber)
            socket.destroy()
          },
        )
        socket.on('error', reject)
      })
    const before = await shown()
    const names = relayServingNames(domain('a'), { asIstiod: false, ips: ['127.0.0.1'] })
    const next = await make({ profile: 'relay-serving', names, by: parties().pki.controlPlane })
    expect(() => server.rotate({ ...serving(parties().pki, next), key: 'no key' })).toThrow('do not make a TLS context')
    expect(await shown()).toBe(before)
    server.rotate(serving(parties().pki, next))
    expect(await shown()).not.toBe(before)
    set(setOf(clusterOf('a'), endpointsOf('a', [5]), listenerOf('in', 10_000, 'r'), routeOf('r', 'a')))
    await client.until(() => client.wire.includes('< eds a'))
    await proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: parties().other }).ready
  })

  test('new client roots hold for new connections', async () => {
    const { server } = await start(small())
    const next = await makeFakeCluster('a')
    const theirs = await workload(next, 'shop', 'web')
    const certificate = { chainPem: theirs.pem + next.issuing.pem, keyPem: theirs.key.keyPem }
    server.rotate({ ...serving(parties().pki), clientCas: parties().pki.root.pem + next.root.pem })
    await proxy(server, 'delta', { certificate }).ready
    server.rotate({ ...serving(parties().pki), clientCas: next.root.pem })
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
    const client = new Client(
      `127.0.0.1:${server.port}`,
      credentials.createSsl(Buffer.from(parties().pki.controlPlane.pem)),
    )
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

test('what goes wrong with one stream ends that one: the others of the round are told', async () => {
  let round = 0
  const faulty = {
    get [typeUrls.cluster](): never {
      throw new Error('no such map')
    },
  }
  const { server } = await start(
    {},
    {},
    {
      resourcesFor: (connected) => () => {
        if (round === 0) return small()
        return connected.identity.serviceAccount === 'web' ? faulty : many(3)
      },
    },
  )
  const victim = raw(server, 'delta')
  victim.ask({ typeUrl: typeUrls.cluster, node: nodeFor('web-1') })
  victim.call.on('data', () => undefined)
  const next = proxy(server, 'delta', { node: nodeFor('api-1', 'api'), holder: parties().other })
  await next.ready
  round = 1
  server.changed()
  expect(await victim.ended).toMatchObject({ code: 13 })
  await eventually(() => server.observables().streams === 1)
  await next.until(() => next.names(typeUrls.cluster).includes('c2'))
})
