import { createServer, type Server as TcpServer } from 'node:net'
import { connect } from 'node:tls'
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js'
import { register } from '@grpc/grpc-js-xds'
import { afterAll, expect, test } from 'vitest'
import { typeUrls } from '#mesh/model/resource.ts'
import { dialOf, nodeFor, startAdsRelay, workload } from '#tests/support/ads-relay.ts'
import { apiListenerOf, clusterOf, routeOf, setOf, weightedEndpointsOf } from '#tests/support/ads-resources.ts'
import { makeFakeCluster } from '#tests/support/fake-relay.ts'

const toStop: (() => unknown)[] = []
afterAll(async () => {
  for (const stop of toStop.reverse()) await stop()
})

/** The xDS client of grpc-js knows no mTLS of its own towards its server. */
async function bridge(dial: ReturnType<typeof dialOf>): Promise<number> {
  const { certificate, relayRoots: ca, port } = dial
  const server: TcpServer = createServer((plain) => {
    const secure = connect({
      port,
      host: '127.0.0.1',
      ca,
      cert: certificate?.chainPem,
      key: certificate?.keyPem,
      ALPNProtocols: ['h2'],
    })
    plain.pipe(secure).pipe(plain)
    for (const one of [plain, secure]) one.on('error', () => plain.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  toStop.push(() => server.close())
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

const asIs = (bytes: Buffer) => bytes
const echo = {
  Say: {
    ...{ path: '/shop.Echo/Say', requestStream: false, responseStream: false },
    ...{ requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
  },
}

async function backend(name: string): Promise<number> {
  const server = new Server()
  server.addService(echo, { Say: (_: unknown, done: (e: null, b: Buffer) => void) => done(null, Buffer.from(name)) })
  toStop.push(() => server.forceShutdown())
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (e, port) => (e ? reject(e) : resolve(port))),
  )
}

test('a proxyless gRPC client, by name: its first call is routed, and a moved endpoint takes effect', async () => {
  const pki = await makeFakeCluster('a')
  const shop = await workload(pki, 'shop', 'web')
  const [one, two] = [await backend('one'), await backend('two')]
  const fixed = [apiListenerOf('echo.shop', 'r'), routeOf('r', 'echo'), clusterOf('echo'), clusterOf('other')]
  const relay = await startAdsRelay(pki, setOf(...fixed, weightedEndpointsOf('echo', one)))
  toStop.push(() => relay.server.close())
  const bootstrap = JSON.stringify({
    xds_servers: [
      {
        server_uri: `127.0.0.1:${await bridge(dialOf(pki, relay.server, 'sotw', shop))}`,
        channel_creds: [{ type: 'insecure' }],
        server_features: ['xds_v3'],
      },
    ],
    node: { ...nodeFor('web-1'), locality: { region: 'r1' } },
  })
  register()
  const client = new Client('xds:///echo.shop', credentials.createInsecure(), {
    'grpc.TEST_ONLY_DO_NOT_USE_IN_PROD.xds_bootstrap_config': bootstrap,
  })
  toStop.push(() => client.close())
  const say = () =>
    new Promise<string>((resolve, reject) =>
      client.makeUnaryRequest(
        '/shop.Echo/Say',
        asIs,
        asIs,
        Buffer.alloc(0),
        { deadline: Date.now() + 10_000 },
        (e, answer) => (e ? reject(e) : resolve(String(answer))),
      ),
    )
  expect(await say()).toBe('one')
  relay.set(setOf(...fixed, weightedEndpointsOf('echo', two)))
  for (const end = Date.now() + 10_000; (await say()) !== 'two'; ) expect(Date.now()).toBeLessThan(end)
  expect(relay.nacks).toEqual([])
  expect(relay.server.observables().resources).toMatchObject({
    [typeUrls.listener]: 1,
    [typeUrls.route]: 1,
    [typeUrls.cluster]: 1,
    [typeUrls.endpoint]: 2,
  })
})
