import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createHttp2Server, type Http2Server } from 'node:http2'
import { createServer as createTcpServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CaseText } from '#mesh/translate/testdata/case.ts'
import { type Leaf, type Running, startEnvoy } from '#mesh/translate/testdata/real-envoy.ts'
import { identityNames, relayId } from '#mesh/trust/names.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, type Holder, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'

/**
 * Cluster a calls cluster b, and c where b is gone, through their gateways: five real Envoys, each with exactly what the
 * translator renders for it, and plain programs at both ends. The addresses are drawn anew, so that two runs on one
 * machine do not meet.
 */
const net = `127.${randomInt(64, 250)}.${randomInt(1, 25)}`
const address = (n: number) => `${net}${n}.1`
const callerIn = address(1)
export const out = address(2)
export const outTcp = address(3)
/** The addresses of a serving cluster: its pod, the application in it, its gateway. */
export const placesOf = (cluster: 'b' | 'c') => {
  const first = cluster === 'b' ? 4 : 7
  return { server: address(first), app: address(first + 1), gateway: address(first + 2), out: `${net}${first}.3` }
}
export const { server: serverIn, gateway } = placesOf('b')
/** A pod whose port takes plaintext beside mutual TLS. */
export const { server: permissiveIn } = placesOf('c')
const dir = mkdtempSync(join(tmpdir(), 'isthmus-traffic-'))
const running = new Map<string, Running>()
const servers: (Server | Http2Server)[] = []
const issuing: Record<string, Holder> = {}
let root: Holder | undefined
let roots = ''
let consumers: readonly string[] = ['a']
let foreign: Readonly<Record<string, readonly string[]>> = {}

/** PEM of the roots that everybody here trusts. */
export const trustedRoots = (): string => roots

/** The root above every cluster's authority. */
export function meshRoot(): Holder {
  if (!root) throw new Error('the border has not begun')
  return root
}

/** The authority of a cluster, as whoever stole its key has it; `a`, `b` or `c`. */
export function authorityOf(cluster: string): Holder {
  const holder = issuing[cluster]
  if (!holder) throw new Error(`no authority for ${cluster}`)
  return holder
}

export type BorderWish = {
  /** Who may call what b and c export. */
  readonly consumers?: readonly string[]
  /** Trust domains of other meshes that may as well, with their roots (PEM). */
  readonly foreign?: Readonly<Record<string, readonly string[]>>
  /** Cluster b alone, and nobody who calls it. */
  readonly alone?: true
}

/** Starts all of it; resolves once every Envoy listens. */
export async function startBorder(envoy: string, more: BorderWish = {}): Promise<void> {
  consumers = more.consumers ?? consumers
  foreign = more.foreign ?? foreign
  root = await makeRoot()
  roots = root.pem
  const serving = more.alone ? (['b'] as const) : (['b', 'c'] as const)
  for (const cluster of ['a', 'b', 'c']) issuing[cluster] = await makeIssuing(root, cluster)
  await Promise.all(serving.map(serveApplications))
  const start = async (name: string, text: CaseText, leaf: Leaf, ready: string) =>
    running.set(name, await startEnvoy(text, { envoy, dir, name, leaf, ready }))
  await Promise.all([
    ...serving.map(async (cluster) => {
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
    more.alone ? undefined : start('caller', callerCase(), await leafOf('a', 'bookinfo', 'productpage'), `${out}:9080`),
  ])
}

export async function stopBorder(): Promise<void> {
  await Promise.all([...running.values()].map((envoy) => envoy.stop()))
  for (const server of servers) server.close()
  rmSync(dir, { recursive: true, force: true })
}

/** Kills one Envoy: `gateway-b`, `server-c`. */
export const kill = async (name: string): Promise<void> => running.get(name)?.stop()

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
  peerAuthentications: cluster === 'c' ? [{ mode: 'PERMISSIVE' }] : [],
  config: {
    members: ['a', 'b', 'c'],
    roots: [roots],
    exports: each((_, port) => ({ ports: [port], consumers, foreign: Object.keys(foreign) })),
  },
  ...(Object.keys(foreign).length > 0 ? { bundle: { roots: [roots], foreign } } : {}),
})

/** What the pod of a serving cluster is rendered from. */
export const serverCase = (cluster: 'b' | 'c'): CaseText => ({
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

/** A workload's certificate, by its cluster's own authority; account `relay` is the relay's. */
export async function leafOf(cluster: string, namespace: string, account: string): Promise<Leaf> {
  const id = account === 'relay' ? relayId(domain(cluster)) : spiffeId(domain(cluster), namespace, account)
  const by = authorityOf(cluster)
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
