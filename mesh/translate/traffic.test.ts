import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server, type Http2Server } from 'node:http2'
import { connect, createServer as createTcpServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CaseText } from '#mesh/translate/testdata/case.ts'
import { type Leaf, type Running, startEnvoy } from '#mesh/translate/testdata/real-envoy.ts'
import { identityNames, relayId } from '#mesh/trust/names.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, type Holder, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { envoyPath } from '#tests/support/parts.ts'

/**
 * Cluster a calls cluster b, and c where b is gone, through their gateways: five real Envoys, each with exactly what the
 * translator renders for it, and plain programs at both ends. The addresses are drawn anew, so that two runs on one machine do not meet.
 */
const net = `127.${randomInt(64, 250)}.${randomInt(0, 25)}`
const address = (n: number) => `${net}${n}.1`
const [callerIn, out, outTcp] = [address(1), address(2), address(3)]
/** The addresses of a serving cluster: its pod, the application in it, its gateway. */
const placesOf = (cluster: 'b' | 'c') => {
  const first = cluster === 'b' ? 4 : 7
  return { server: address(first), app: address(first + 1), gateway: address(first + 2), out: `${net}${first}.3` }
}
const { server: serverIn, gateway } = placesOf('b')
const dir = mkdtempSync(join(tmpdir(), 'isthmus-traffic-'))
const running = new Map<string, Running>()
const servers: (Server | Http2Server)[] = []
const issuing: Record<string, Holder> = {}
let roots = ''

beforeAll(async () => {
  const envoy = await envoyPath()
  const root = await makeRoot()
  roots = root.pem
  for (const cluster of ['a', 'b', 'c']) issuing[cluster] = await makeIssuing(root, cluster)
  await Promise.all([serveApplications('b'), serveApplications('c')])
  const start = async (name: string, text: CaseText, leaf: Leaf, ready: string) =>
    running.set(name, await startEnvoy(text, { envoy, dir, name, leaf, ready }))
  await Promise.all([
    ...(['b', 'c'] as const).map(async (cluster) => {
      const at = placesOf(cluster)
      await start(
        `server-${cluster}`,
        serverCase(cluster),
        await leafOf(cluster, 'bookinfo', 'reviews'),
        `${at.server}:9080`,
      )
      const leaf = await leafOf(cluster, 'isthmus-system', 'eastwest')
      await start(`gateway-${cluster}`, gatewayCase(cluster), leaf, `${at.gateway}:15443`)
    }),
    start('caller', callerCase(), await leafOf('a', 'bookinfo', 'productpage'), `${out}:9080`),
  ])
})

afterAll(async () => {
  await Promise.all([...running.values()].map((envoy) => envoy.stop()))
  for (const server of servers) server.close()
  rmSync(dir, { recursive: true, force: true })
})

const ports = { 'bookinfo/reviews': 'http 9080 http', 'bookinfo/db': 'tcp 7000 tcp', 'bookinfo/chat': 'grpc 7070 grpc' }
const each = <T>(make: (key: string, port: string) => T): Record<string, T> =>
  Object.fromEntries(Object.entries(ports).map(([key, port]) => [key, make(key, port)]))

const callerCase = (): CaseText => ({
  cluster: 'a',
  region: 'r1',
  config: {
    members: ['a', 'b', 'c'],
    roots: [roots],
    imports: each((_, port) => ({
      ports: [port],
      sources: ['b net-b r1 reviews', 'c net-c r2 reviews'],
      tiers: [{ b: 1 }, { c: 1 }],
    })),
  },
  summaries: Object.fromEntries(
    (['b', 'c'] as const).map((cluster) => [
      cluster,
      {
        gateways: [`${placesOf(cluster).gateway}:15443`],
        services: each((_, port) => ({ counts: [`${port.split(' ')[1]} r1/ 1/1`] })),
      },
    ]),
  ),
  proxy: {
    id: `sidecar~${callerIn}~productpage-1.bookinfo~bookinfo.svc.cluster.local`,
    account: 'productpage',
    metadata: {
      INTERCEPTION_MODE: 'NONE',
      ISTHMUS: { application: callerIn, outbound: out, tcp: { 'db.bookinfo.svc.cluster.local:7000': outTcp } },
    },
  },
})

const serving = (cluster: 'b' | 'c'): Omit<CaseText, 'proxy'> => ({
  cluster,
  region: 'r1',
  gateways: [`${placesOf(cluster).gateway}:15443`],
  services: { ...each((_, port) => ({ ports: [port] })), 'bookinfo/secret': { ports: ['http 9081 http'] } },
  pods: {
    'bookinfo/reviews-1': {
      ip: placesOf(cluster).server,
      account: 'reviews',
      behind: {
        ...each((_, port) => ({ [port.split(' ')[0] ?? '']: Number(port.split(' ')[1]) })),
        'bookinfo/secret': { http: 9081 },
      },
    },
  },
  exports: Object.keys(ports),
  config: {
    members: ['a', 'b', 'c'],
    roots: [roots],
    exports: each((_, port) => ({ ports: [port], consumers: ['a'] })),
  },
})

const serverCase = (cluster: 'b' | 'c'): CaseText => ({
  ...serving(cluster),
  proxy: {
    id: `sidecar~${placesOf(cluster).server}~reviews-1.bookinfo~bookinfo.svc.cluster.local`,
    account: 'reviews',
    metadata: {
      INTERCEPTION_MODE: 'NONE',
      ISTHMUS: { application: placesOf(cluster).app, outbound: placesOf(cluster).out },
    },
  },
})

const gatewayCase = (cluster: 'b' | 'c'): CaseText => ({
  ...serving(cluster),
  proxy: {
    id: `router~${placesOf(cluster).gateway}~eastwest-1.isthmus-system~isthmus-system.svc.cluster.local`,
    account: 'eastwest',
    metadata: {},
  },
})

async function leafOf(cluster: string, namespace: string, account: string): Promise<Leaf> {
  const id = account === 'relay' ? relayId(domain(cluster)) : spiffeId(domain(cluster), namespace, account)
  const by = issuing[cluster]
  if (!by) throw new Error(`no authority for ${cluster}`)
  const leaf = await make({ profile: 'workload', names: identityNames(id), by })
  return { chain: `${leaf.pem}${by.pem}`, key: leaf.key.keyPem }
}

async function serveApplications(cluster: 'b' | 'c'): Promise<void> {
  const { app } = placesOf(cluster)
  const http = createServer((req, res) => {
    res.end(
      JSON.stringify({
        cluster,
        method: req.method,
        xfcc: req.headers['x-forwarded-client-cert'],
        version: req.httpVersion,
      }),
    )
  })
  http.on('upgrade', (req, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.write(`hello ${String(req.headers['x-forwarded-client-cert'])}`)
    socket.on('data', (data: Buffer) => socket.write(`echo ${data.toString()}`))
    socket.on('error', () => socket.destroy())
  })
  const tcp = createTcpServer((socket) => {
    socket.on('data', (data) => socket.write(`tcp ${data.toString()}`))
    socket.on('error', () => socket.destroy())
  })
  const http2 = createHttp2Server()
  http2.on('stream', (stream, headers) => {
    stream.respond({ ':status': 200 })
    stream.end(`h2 ${String(headers[':path'])} ${String(headers['x-forwarded-client-cert'])}`)
  })
  servers.push(http, tcp, http2)
  const listen = (server: Server | Http2Server, port: number) =>
    new Promise<void>((resolve) => server.listen(port, app, () => resolve()))
  await Promise.all([listen(http, 9080), listen(tcp, 7000), listen(http2, 7070)])
}

/** What the server's application reads in `x-forwarded-client-cert`, with the certificate's hash left out. */
const seen = 'By=spiffe://b.mesh1/ns/bookinfo/sa/reviews;URI=spiffe://a.mesh1/ns/bookinfo/sa/productpage'
const withoutHash = (text: string): string => text.replace(/Hash=[0-9a-f]{64};/, '')

type Answer = { readonly status: number; readonly body: string }
const call = (host: string, more: { readonly method?: string; readonly headers?: Record<string, string> } = {}) =>
  new Promise<Answer>((resolve, reject) => {
    const { method = 'GET', headers = {} } = more
    const req = request(
      { host: out, port: 9080, method, headers: { host, ...headers }, agent: false },
      (res: IncomingMessage) => {
        let body = ''
        res.on('data', (data: Buffer) => {
          body += data.toString()
        })
        res.on('end', () => resolve({ status: res.statusCode ?? 0, body }))
      },
    )
    req.on('error', reject)
    req.end(method === 'POST' ? 'x' : undefined)
  })

/** What a stranger hears at a TLS port: the first bytes of an answer, or why there is none. */
async function knock(
  at: string,
  facts: { readonly leaf?: Leaf; readonly sni?: string; readonly alpn?: readonly string[]; readonly send?: string },
): Promise<string> {
  const [host = '', port] = at.split(':')
  return await new Promise((resolve) => {
    const socket = connectTls({
      host,
      port: Number(port),
      ca: roots,
      checkServerIdentity: () => undefined,
      ...(facts.leaf ? { cert: facts.leaf.chain, key: facts.leaf.key } : {}),
      ...(facts.sni ? { servername: facts.sni } : {}),
      ...(facts.alpn ? { ALPNProtocols: [...facts.alpn] } : {}),
      minVersion: 'TLSv1.3',
    })
    socket.on('secureConnect', () =>
      socket.write(facts.send ?? 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
    )
    socket.on('data', (data: Buffer) => {
      resolve(data.toString().split('\r\n')[0] ?? '')
      socket.destroy()
    })
    socket.on('error', (error) => resolve(`refused: ${error.message}`))
    socket.on('close', () => resolve('refused: closed'))
  })
}

const sni = (port: number, service: string) => `outbound_.${port}_._.${service}.bookinfo.svc.cluster.local`

test('HTTP crosses the border, and the server sees who calls, whatever the caller claims', async () => {
  for (const method of ['GET', 'POST']) {
    const answer = await call('reviews', {
      method,
      headers: { 'x-forwarded-client-cert': 'URI=spiffe://b.mesh1/forged' },
    })
    expect(answer.status).toBe(200)
    expect(JSON.parse(withoutHash(answer.body))).toEqual({ cluster: 'b', method, xfcc: seen, version: '1.1' })
  }
  expect((await call('reviews.bookinfo.svc.clusterset.local:9080')).status).toBe(200)
})

test('a name that nobody offers is answered here', async () => {
  expect(await call('secret.bookinfo')).toMatchObject({ status: 502 })
})

test('a WebSocket crosses the border', async () => {
  const said = await new Promise<string>((resolve, reject) => {
    const req = request({
      host: out,
      port: 9080,
      headers: {
        host: 'reviews',
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      },
    })
    req.on('upgrade', (_, socket, head) => {
      let text = head.toString()
      socket.on('data', (data: Buffer) => {
        text += data.toString()
        if (!text.includes('echo ping')) return
        resolve(text)
        socket.destroy()
      })
      socket.write('ping')
    })
    req.on('response', (res) => reject(new Error(`answered ${res.statusCode}`)))
    req.on('error', reject)
    req.end()
  })
  expect(withoutHash(said)).toBe(`hello ${seen}echo ping`)
})

test('bytes of TCP cross the border', async () => {
  const said = await new Promise<string>((resolve, reject) => {
    const socket = connect({ host: outTcp, port: 7000 }, () => socket.write('ping'))
    socket.on('data', (data) => {
      resolve(data.toString())
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed')))
  })
  expect(said).toBe('tcp ping')
})

test('HTTP/2 crosses the border as HTTP/2', async () => {
  const session = connectHttp2(`http://${out}:7070`)
  const said = await new Promise<string>((resolve, reject) => {
    const stream = session.request({
      ':path': '/chat.Chat/Say',
      ':method': 'POST',
      ':authority': 'chat.bookinfo',
      te: 'trailers',
    })
    let body = ''
    stream.on('data', (data: Buffer) => {
      body += data.toString()
    })
    stream.on('end', () => resolve(body))
    stream.on('error', reject)
    stream.end('x')
  })
  session.destroy()
  expect(withoutHash(said)).toBe(`h2 /chat.Chat/Say ${seen}`)
})

test('a pod’s port takes nobody without a certificate, and nobody of a domain that its export does not admit', async () => {
  const plain = await new Promise<string>((resolve) => {
    const socket = connect({ host: serverIn, port: 9080 }, () => socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
    socket.on('data', (data) => resolve(`answered ${data.toString()}`))
    socket.on('error', () => resolve('refused'))
    socket.on('close', () => resolve('refused'))
  })
  expect(plain).toBe('refused')
  const at = `${serverIn}:9080`
  expect(await knock(at, {})).toMatch(/^refused/)
  expect(await knock(at, { leaf: await leafOf('c', 'bookinfo', 'productpage') })).toMatch(/^refused/)
  expect(await knock(at, { leaf: await leafOf('a', 'bookinfo', 'productpage') })).toBe('HTTP/1.1 200 OK')
  const unexported = `${serverIn}:9081`
  expect(await knock(unexported, { leaf: await leafOf('a', 'bookinfo', 'productpage') })).toMatch(/^refused/)
  expect(await knock(unexported, { leaf: await leafOf('b', 'bookinfo', 'productpage') })).toMatch(/^HTTP\/1.1 503/)
})

test('the gateway answers for exported names only, and only to a proxy of the mesh', async () => {
  const leaf = await leafOf('a', 'bookinfo', 'productpage')
  const at = `${gateway}:15443`
  const alpn = ['istio']
  expect(await knock(at, { leaf, alpn, sni: sni(9080, 'reviews') })).toBe('HTTP/1.1 200 OK')
  expect(await knock(at, { leaf, alpn, sni: sni(9081, 'secret') })).toMatch(/^refused/)
  expect(await knock(at, { leaf, alpn, sni: 'sds-grpc' })).toMatch(/^refused/)
  expect(await knock(at, { leaf, alpn: ['h2'], sni: sni(9080, 'reviews') })).toMatch(/^refused/)
  expect(await knock(at, { leaf: await leafOf('c', 'x', 'y'), alpn, sni: sni(9080, 'reviews') })).toMatch(/^refused/)
})

test('the gateway answers probes of the members’ relays, and of nobody else', async () => {
  const at = `${gateway}:15443`
  const name = 'probe.b.mesh1'
  expect(await knock(at, { leaf: await leafOf('a', '', 'relay'), sni: name })).toBe('HTTP/1.1 200 OK')
  expect(await knock(at, { leaf: await leafOf('c', '', 'relay'), sni: name })).toBe('HTTP/1.1 200 OK')
  expect(await knock(at, { leaf: await leafOf('a', 'bookinfo', 'productpage'), sni: name })).toMatch(/^refused/)
  expect(await knock(at, { sni: name })).toMatch(/^refused/)
})

test('a gateway that dies costs no request that may be repeated', async () => {
  const servedBy = async () => {
    const answer = await call('reviews')
    return answer.status === 200 ? (JSON.parse(answer.body) as { readonly cluster: string }).cluster : answer.status
  }
  expect(await servedBy()).toBe('b')
  await running.get('gateway-b')?.stop()
  const served = new Set<string | number>()
  for (let n = 0; n < 50; n += 1) served.add(await servedBy())
  expect([...served]).toEqual(['c'])
})
