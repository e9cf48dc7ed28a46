import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type ClientHttp2Session, connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { Method } from '#gateway/grpc/server.ts'
import { adminAt, statsOf } from '#gateway/proxy/envoy-admin.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { serveSecrets } from '#gateway/proxy/serve-secrets.ts'
import type { View } from '#mesh/model/view.ts'
import { buildBootstrap, controlPlaneName } from '#mesh/translate/bootstrap.ts'
import { parseProxy } from '#mesh/translate/node.ts'
import { buildIdentitySecret, buildTrustSecret } from '#mesh/translate/secret.ts'
import { type CaseText, caseOf } from '#mesh/translate/testdata/case.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { formatSpiffeId, spiffeId } from '#mesh/trust/spiffe-id.ts'
import { startAdsRelay } from '#tests/support/ads-relay.ts'
import { domain, type Holder, make, makeIssuing } from '#tests/support/authorities.ts'
import { type FakeCluster, makeFakeCluster } from '#tests/support/fake-relay.ts'
import { envoyPath } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

/** Far ends by name (`b1`, `c1`): the first letter is the cluster that each is a gateway of. */
export type FarEnd = { readonly address: string; readonly stop: () => Promise<void> }

/** One real Envoy of cluster a that takes everything from a real ADS server, and what it calls. */
export type SharesRig = {
  readonly farEnds: Readonly<Record<string, FarEnd>>
  /** Where HTTP services are called, and the stream `shop/db`. */
  readonly at: { readonly http: string; readonly tcp: string }
  /** Renders the case from now on; resolves when Envoy has taken it. */
  readonly say: (text: Pick<CaseText, 'config' | 'summaries' | 'traffic'>) => Promise<void>
  readonly stats: (filter: string) => Promise<ReadonlyMap<string, number>>
  readonly admin: (path: string) => Promise<string>
  readonly log: () => string
  readonly stop: () => Promise<void>
}

const streamPort = 7000
export const httpPort = 9080

export async function startSharesRig(
  names: readonly string[],
  methods: Readonly<Record<string, Method>> = {},
): Promise<SharesRig> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-shares-'))
  const net = `127.${randomInt(64, 250)}.${randomInt(1, 250)}`
  const [self, http, tcp] = [`${net}.1`, `${net}.2`, `${net}.3`]
  const pki = await makeFakeCluster('a')
  const stops: (() => Promise<void> | void)[] = [() => rmSync(dir, { recursive: true, force: true })]
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one()
  }
  const issuing = new Map<string, Promise<Holder>>()
  const authorityOf = (cluster: string): Promise<Holder> => {
    const known = issuing.get(cluster) ?? makeIssuing(pki.root, cluster)
    issuing.set(cluster, known)
    return known
  }
  const started = await Promise.all(
    names.map(async (name) => [name, await startFarEnd(name, pki, await authorityOf(name.slice(0, 1)))] as const),
  )
  for (const [, end] of started) stops.push(end.stop)

  let view: View | undefined
  const translator = createTranslator()
  const relay = await startAdsRelay(
    pki,
    undefined,
    {},
    {
      methods,
      resourcesFor: (proxy) => {
        const serve = translator.serving(parseProxy(proxy, proxy.identity))
        return () => view && serve(view)
      },
    },
  )
  stops.push(() => relay.server.close())

  const socket = join(dir, 'sds')
  const secrets = await serveSecrets(socket, silent)
  stops.push(() => secrets.close())
  const leaf = await leafOf('a', 'web', pki.issuing)
  const relayUri = formatSpiffeId(spiffeId(domain('a'), 'isthmus-system', 'relay'))
  secrets.publish(
    new Map([
      ['default', buildIdentitySecret('default', `${leaf.pem}${pki.issuing.pem}`, leaf.key.keyPem)],
      [controlPlaneName, buildTrustSecret(controlPlaneName, pki.controlPlane.pem, [relayUri])],
    ]),
  )
  const adminSocket = join(dir, 'admin')
  const bootstrap = buildBootstrap({
    ...{ type: 'sidecar', pod: 'web-1', namespace: 'shop', serviceAccount: 'web', instanceIps: [self] },
    ...{ cluster: 'a', network: 'net-a', mesh: 'mesh1', labels: {}, interception: 'NONE' },
    relay: { host: '127.0.0.1', port: relay.server.port, uri: relayUri },
    ...{ secretsSocket: socket, admin: { socket: adminSocket }, connectionsMax: 1000, concurrency: 1 },
    plain: { application: self, outbound: http, tcp: { [`db.shop.svc.cluster.local:${streamPort}`]: tcp } },
  })
  writeFileSync(join(dir, 'envoy.json'), JSON.stringify(bootstrap))
  const args = ['-c', join(dir, 'envoy.json'), '--concurrency', '1', '--disable-hot-restart', '-l', 'warning']
  const child = spawn(await envoyPath(), [...args, '--log-path', join(dir, 'log')], { stdio: 'ignore' })
  stops.push(() => ended(child))
  const admin = adminAt({ socket: adminSocket })

  const rig: SharesRig = {
    farEnds: Object.fromEntries(started),
    at: { http: `${http}:${httpPort}`, tcp: `${tcp}:${streamPort}` },
    say: async (text) => {
      view = caseOf({
        ...{ cluster: 'a', region: 'r1' },
        ...text,
        config: { members: [], ...text.config, roots: [pki.root.pem] },
        proxy: { id: `sidecar~${self}~web-1.shop~shop.svc.cluster.local`, account: 'web', metadata: {} },
      }).view
      relay.server.changed()
      await eventually(15_000, 'Envoy is in step', () => {
        const { proxies } = relay.server.status()
        const types = proxies.flatMap((proxy) => Object.values(proxy.types))
        return proxies.length === 1 && types.length >= 4 && types.every(({ state }) => state === 'SYNCED')
      })
      if (relay.nacks.length > 0) throw new Error(`Envoy refused: ${JSON.stringify(relay.nacks[0])}`)
    },
    stats: (filter) => statsOf(admin, filter),
    admin: (path) => admin.text('GET', path),
    log: () => readFileSync(join(dir, 'log'), 'utf8'),
    stop,
  }
  return rig
}

/** What calls came to: who answered how many, and what went wrong. */
export type Answers = { readonly by: Readonly<Record<string, number>>; readonly faults: readonly string[] }

/**
 * `calls` GETs of one service over one connection to the caller's Envoy: `atOnce` at a time, or `perSecond`; `seen` hears
 * who answered each, and when it was sent.
 */
export async function callsTo(
  { at }: SharesRig,
  service: string,
  how: {
    readonly calls: number
    readonly atOnce?: number
    readonly perSecond?: number
    readonly seen?: (from: string, sentAt: number) => void
    /** Answered after a second, to a request that is not sent twice. */
    readonly slow?: true
    /** Ends it before all calls were made. */
    readonly until?: AbortSignal
  },
): Promise<Answers> {
  const session = connectHttp2(`http://${at.http}`)
  session.on('error', () => undefined)
  const by: Record<string, number> = {}
  const faults: string[] = []
  const one = async () => {
    const sentAt = performance.now()
    const { from, fault } = await call(session, service, how.slow === true)
    if (fault === undefined) by[from] = (by[from] ?? 0) + 1
    else if (faults.length < 5) faults.push(fault)
    how.seen?.(from, sentAt)
  }
  if (how.perSecond === undefined) {
    let left = how.calls
    const lane = async () => {
      for (; left > 0; ) {
        left -= 1
        await one()
      }
    }
    await Promise.all(Array.from({ length: how.atOnce ?? 32 }, lane))
  } else await paced({ ...how, perSecond: how.perSecond }, one)
  session.close()
  return { by, faults }
}

async function paced(
  how: { readonly calls: number; readonly perSecond: number; readonly until?: AbortSignal },
  one: () => Promise<void>,
): Promise<void> {
  const open: Promise<void>[] = []
  let begun = performance.now()
  while (open.length < how.calls && how.until?.aborted !== true) {
    const due = Math.floor(((performance.now() - begun) * how.perSecond) / 1000)
    // A process that was held up for long goes on at its pace, it does not make up for it at once.
    if (due > open.length + how.perSecond) begun = performance.now() - (open.length * 1000) / how.perSecond
    else while (open.length < Math.min(how.calls, due)) open.push(one())
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await Promise.all(open)
}

const call = (session: ClientHttp2Session, service: string, slow: boolean): Promise<{ from: string; fault?: string }> =>
  new Promise((resolve) => {
    const stream = session.request({
      ...(slow ? { ':path': '/slow', ':method': 'POST' } : { ':path': '/', ':method': 'GET' }),
      ':authority': `${service}.shop:${httpPort}`,
    })
    let from = ''
    let status = 0
    stream.on('response', (headers) => {
      from = String(headers['x-from'])
      status = Number(headers[':status'])
    })
    stream.on('error', (fault) => resolve({ from, fault: fault.message }))
    let body = ''
    stream.on('data', (data: Buffer) => {
      body += data.toString()
    })
    stream.on('close', () => resolve(status === 200 ? { from } : { from, fault: `answered ${status}: ${body}` }))
    stream.end()
  })

/**
 * The far side of a road as the caller meets it: mutual TLS with the service's own identity, HTTP/2 behind it, or bytes
 * that come back where the name asked for is the stream's.
 */
async function startFarEnd(name: string, pki: FakeCluster, by: Holder): Promise<FarEnd> {
  const leaf = await leafOf(name.slice(0, 1), 'x', by)
  const http2 = createHttp2Server({ settings: { maxConcurrentStreams: 1000 } })
  http2.on('sessionError', () => undefined)
  http2.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    const answer = () => {
      if (!stream.destroyed) stream.respond({ ':status': 200, 'x-from': name }, { endStream: true })
    }
    if (headers[':path'] === '/slow') setTimeout(answer, 1000)
    else answer()
  })
  const sockets = new Set<TLSSocket>()
  const tls = createTlsServer({
    ...{ cert: `${leaf.pem}${by.pem}`, key: leaf.key.keyPem, ca: pki.root.pem, requestCert: true },
    ...{ ALPNProtocols: ['istio'], minVersion: 'TLSv1.3' },
  })
  tls.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
    if (!String(socket.servername).startsWith(`outbound_.${streamPort}_.`)) http2.emit('connection', socket)
    else socket.on('data', (data) => socket.write(`${name} ${data.toString()}`))
  })
  tls.on('tlsClientError', () => undefined)
  tls.listen(0, '127.0.0.1')
  await once(tls, 'listening')
  return {
    address: `127.0.0.1:${(tls.address() as AddressInfo).port}`,
    stop: async () => {
      if (!tls.listening) return
      tls.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

const leafOf = (cluster: string, account: string, by: Holder): Promise<Holder> =>
  make({ profile: 'workload', names: identityNames(spiffeId(domain(cluster), 'shop', account)), by })

const silent = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
} as never as Log

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
