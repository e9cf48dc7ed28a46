import { randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { grpcServer, type Method, type Serving } from '#gateway/grpc/server.ts'
import { type Address, type Connections, type Front, type ListenAddress, listen } from '#gateway/relay/connections.ts'
import { type AdsCounts, createHub, type Hub, type HubOptions } from '#gateway/relay/hub.ts'
import { type AdsLimits, adsLimits } from '#gateway/relay/limits.ts'
import { type ConnectedProxy, identityText } from '#gateway/relay/node.ts'
import type { Quarantined } from '#gateway/relay/quarantine.ts'
import { type AdsStream, serveStream } from '#gateway/relay/stream.ts'
import type { Mode } from '#gateway/relay/stream-state.ts'
import { staleIn, type TypeStatus, typesOf } from '#gateway/relay/type-status.ts'
import { Problem } from '#mesh/model/problem.ts'

export type AdsOptions = HubOptions & {
  /** At least one; port 0 in the first chooses a port, and 0 in later ones takes the same. */
  readonly listen: readonly ListenAddress[]
  /** Asked first about each connection that is not `direct`. */
  readonly front?: Front
  readonly serving: Serving
  /** Other methods on the same port by path, `CreateCertificate` among them. */
  readonly methods?: Readonly<Record<string, Method>>
  readonly limits?: Partial<AdsLimits>
}

export type ProxyStatus = {
  readonly id: string
  readonly identity: string
  readonly mode: Mode
  readonly address: string
  readonly connectedAt: number
  /** Version of the Envoy (or other xDS client), and of the program beside it; empty where it does not say. */
  readonly envoy: string
  readonly agent: string
  readonly types: Readonly<Record<string, TypeStatus>>
}

export type AdsStatus = { readonly proxies: readonly ProxyStatus[]; readonly quarantined: readonly Quarantined[] }

export type AdsClient = { readonly proxy: ConnectedProxy; readonly types: ProxyStatus['types'] }

export type AdsObservables = AdsCounts & {
  readonly streams: number
  readonly connections: number
  /** Types of all streams for which something is due or not yet acknowledged. */
  readonly pendingTypes: number
  /** Versions that were refused, by full type URL. */
  readonly quarantined: Readonly<Record<string, number>>
}

export type AdsServer = {
  readonly port: number
  readonly addresses: readonly Address[]
  /** Something that `resourcesFor` depends on changed. Never waits: the first change leaves at once, later ones with the next round. */
  readonly changed: () => void
  /** Replaces certificate and client roots for new handshakes; streams stay. Throws `invalid` when they are not usable. */
  readonly rotate: (serving: Serving) => void
  readonly status: () => AdsStatus
  /** The connected proxies, or those of one kind (`router`), and what each has of each type. */
  readonly clients: (kind?: string) => readonly AdsClient[]
  readonly observables: () => AdsObservables
  /** Whether every proxy has acknowledged, or refused, all that it is to have. */
  readonly isSettled: () => boolean
  /** Ends every stream with UNAVAILABLE, and its connection; the port stays open for those that dial again. */
  readonly cut: () => void
  /** Ends every stream with UNAVAILABLE, so that clients redial, and closes the port. */
  readonly close: () => Promise<void>
}

const cutMs = 50

const service = '/envoy.service.discovery.v3.AggregatedDiscoveryService'

/**
 * Serves the aggregated discovery service, both forms, on TLS. Throws `conflict` when an address is taken and `invalid`
 * when the certificate is not usable.
 *
 * A refused resource is set aside for the client that refused it, and for all once two identities did
 * (`quarantine.ts`). Source: xDS protocol; what istiod's clients send.
 */
export async function serveAds(options: AdsOptions): Promise<AdsServer> {
  const limits = { ...adsLimits, ...options.limits }
  let connections: Connections | undefined
  const boot = randomBytes(4).toString('hex')
  const hub = createHub(options, { limits, boot, drop: (peer) => connections?.drop(peer) })
  const grpc = grpcServer({
    serving: options.serving,
    messageBytes: limits.messageBytes,
    onCall: (address) => connections?.called(address),
    methods: {
      ...options.methods,
      [`${service}/StreamAggregatedResources`]: { kind: 'stream', serve: (call) => serveStream(call, 'sotw', hub) },
      [`${service}/DeltaAggregatedResources`]: { kind: 'stream', serve: (call) => serveStream(call, 'delta', hub) },
    },
  })
  const opened = await listen(options.listen, grpc.accept, limits, options.front)
  connections = opened

  const timer = setInterval(() => hub.tick(hub.now()), 1000)
  timer.unref()
  const rounds = pushRounds(hub)

  /** Envoy begins its next stream on the connection that it has: that one goes, too, when the answer is out. */
  const cut = () => {
    const streams = [...hub.streams]
    for (const stream of streams) stream.end(new Problem('unavailable', 'the relay asks you to dial again'))
    const peers = new Set(streams.map(({ peer }) => peer.address))
    if (peers.size > 0) setTimeout(() => peers.forEach(opened.drop), cutMs).unref()
  }

  return {
    port: opened.addresses[0]?.port ?? 0,
    addresses: opened.addresses,
    changed: rounds.changed,
    rotate: grpc.rotate,
    status: () => ({ proxies: [...hub.streams].flatMap(statusOf), quarantined: hub.quarantine.list() }),
    clients: (kind) =>
      [...hub.streams].flatMap((stream) => {
        const proxy = stream.proxy()
        return proxy && (kind === undefined || proxy.kind === kind) ? [clientOf(stream, proxy)] : []
      }),
    observables: () => ({
      ...hub.counts(),
      streams: hub.streams.size,
      connections: opened.count(),
      quarantined: countsOf(hub.quarantine.list().map(({ type }) => type)),
      pendingTypes: [...hub.streams].reduce((sum, stream) => sum + pendingIn(stream), 0),
    }),
    isSettled: () => !rounds.areDue() && [...hub.streams].every((stream) => pendingIn(stream) === 0),
    cut,
    close: async () => {
      clearInterval(timer)
      cut()
      await setImmediate()
      grpc.close()
      opened.close()
    },
  }
}

/**
 * Streams are brought up to date and written to for so long, or until so much is to be written, before anything else
 * gets the processor: to read answers in between would keep those waiting who have not been told. A thousand streams
 * take about 50 ms. Large responses travel in parts, which need the processor in between.
 */
const slice = { ms: 100, bytes: 4 << 20 } as const

/** Rounds over all streams: one at a time, and one more after it when anything changed meanwhile. */
function pushRounds(hub: Hub) {
  let running = false
  let dueSince: number | undefined
  const run = async () => {
    while (dueSince !== undefined) {
      const since = dueSince
      dueSince = undefined
      let began = { at: performance.now(), bytes: hub.sentBytes() }
      for (const stream of [...hub.streams]) {
        stream.refresh(since)
        if (performance.now() - began.at < slice.ms && hub.sentBytes() - began.bytes < slice.bytes) continue
        await setImmediate()
        began = { at: performance.now(), bytes: hub.sentBytes() }
      }
      hub.quarantine.keepOnly((type, name, version) => stillServed(hub, type, name, version))
    }
    running = false
  }
  return {
    areDue: () => running,
    changed: () => {
      dueSince ??= hub.now()
      if (running) return
      running = true
      queueMicrotask(() => void run())
    },
  }
}

/** False only when some stream is to have the name in another version, and none in this one. */
function stillServed(hub: Hub, type: string, name: string, version: string): boolean {
  let replaced = false
  for (const stream of hub.streams) {
    const found = stream.state()?.subscriptions.get(type)?.base.get(name)
    if (found?.version === version) return true
    if (found) replaced = true
  }
  return !replaced
}

function statusOf(stream: AdsStream): ProxyStatus[] {
  const proxy = stream.proxy()
  if (!proxy) return []
  const { mode, connectedAt, peer } = stream
  const types = typesOf(stream.state())
  const versions = { envoy: proxy.userAgent.version, agent: agentVersionOf(proxy) }
  const identity = identityText(proxy.identity)
  return [{ id: proxy.id, identity, mode, address: peer.address, connectedAt, ...versions, types }]
}

/** `isthmus proxy` says its version in its own part of the metadata, Istio's agent where istiod looks for it. */
function agentVersionOf({ metadata }: ConnectedProxy): string {
  const own = metadata['ISTHMUS']
  const said = own !== null && typeof own === 'object' && 'version' in own ? own['version'] : metadata['ISTIO_VERSION']
  return typeof said === 'string' ? said.slice(0, 64) : ''
}

/** Most who ask want to know who is connected, many times a minute: how far each one is, is looked at when it is read. */
const clientOf = (stream: AdsStream, proxy: ConnectedProxy): AdsClient => ({
  proxy,
  get types() {
    return typesOf(stream.state())
  },
})

const pendingIn = (stream: AdsStream): number => staleIn(stream.state())

const countsOf = (types: readonly string[]): Record<string, number> =>
  Object.fromEntries([...Map.groupBy(types, (type) => type)].map(([type, all]) => [type, all.length]))
