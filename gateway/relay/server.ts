import { randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { Server, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js'
import { type Address, listen } from '#gateway/relay/connections.ts'
import { type AdsCounts, createHub, type Hub, type HubOptions, identityText } from '#gateway/relay/hub.ts'
import { type AdsLimits, adsLimits } from '#gateway/relay/limits.ts'
import type { ConnectedProxy } from '#gateway/relay/node.ts'
import type { Quarantined } from '#gateway/relay/quarantine.ts'
import { parseRequest } from '#gateway/relay/request.ts'
import { type Serving, servingCertificate } from '#gateway/relay/serving-certificate.ts'
import { type AdsCall, type AdsStream, serveStream } from '#gateway/relay/stream.ts'
import type { Mode } from '#gateway/relay/stream-state.ts'
import { type TypeStatus, typesOf } from '#gateway/relay/type-status.ts'
import { Problem } from '#mesh/model/problem.ts'

export type AdsOptions = HubOptions & {
  /** At least one; port 0 in the first chooses a port, and 0 in later ones takes the same. */
  readonly listen: readonly Address[]
  readonly serving: Serving
  /** Other gRPC services on the same port, `CreateCertificate` among them. */
  readonly services?: readonly {
    readonly definition: ServiceDefinition
    readonly handlers: UntypedServiceImplementation
  }[]
  readonly limits?: Partial<AdsLimits>
}

export type ProxyStatus = {
  readonly id: string
  readonly identity: string
  readonly mode: Mode
  readonly address: string
  readonly connectedAt: number
  readonly types: Readonly<Record<string, TypeStatus>>
}

export type AdsStatus = { readonly proxies: readonly ProxyStatus[]; readonly quarantined: readonly Quarantined[] }

export type AdsClient = { readonly proxy: ConnectedProxy; readonly types: ProxyStatus['types'] }

export type AdsObservables = AdsCounts & {
  readonly streams: number
  readonly connections: number
  /** Types of all streams for which something is due or not yet acknowledged. */
  readonly pendingTypes: number
}

export type AdsServer = {
  readonly port: number
  readonly addresses: readonly Address[]
  /** Something that `resourcesFor` depends on changed. Never waits: the first change leaves at once, later ones with the next round. */
  readonly changed: () => void
  /** Replaces certificate and client roots for new handshakes; streams stay. Throws `invalid` when they are not usable. */
  readonly rotate: (serving: Serving) => void
  readonly status: () => AdsStatus
  /** The connected proxies of one kind (`router`), and what each has of each type. */
  readonly clients: (kind: string) => readonly AdsClient[]
  readonly observables: () => AdsObservables
  /** Ends every stream with UNAVAILABLE; the port stays open for those that dial again. */
  readonly cut: () => void
  /** Ends every stream with UNAVAILABLE, so that clients redial, and closes the port. */
  readonly close: () => Promise<void>
}

const path = (method: string) => `/envoy.service.discovery.v3.AggregatedDiscoveryService/${method}`
const asIs = (bytes: Buffer) => bytes
const method = (name: string, mode: Mode) => ({
  path: path(name),
  requestStream: true,
  responseStream: true,
  requestSerialize: asIs,
  requestDeserialize: (bytes: Buffer) => parseRequest(mode, bytes),
  responseSerialize: asIs,
  responseDeserialize: asIs,
})
const adsService = {
  StreamAggregatedResources: method('StreamAggregatedResources', 'sotw'),
  DeltaAggregatedResources: method('DeltaAggregatedResources', 'delta'),
}

/**
 * Serves the aggregated discovery service, both forms, on TLS. Throws `conflict` when an address is taken and `invalid`
 * when the certificate is not usable.
 *
 * A refused resource is set aside for the client that refused it, and for all once two identities did
 * (`quarantine.ts`). Source: xDS protocol; what istiod's clients send.
 */
export async function serveAds(options: AdsOptions): Promise<AdsServer> {
  const limits = { ...adsLimits, ...options.limits }
  const certificate = servingCertificate(options.serving)
  const grpc = new Server({
    'grpc.max_receive_message_length': limits.messageBytes,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': 100,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc-node.max_session_memory': 64,
    'grpc.enable_channelz': 0,
  })
  const injector = grpc.createConnectionInjector(certificate.credentials)
  await setImmediate() // The credentials reach the injector in a microtask.
  const connections = await listen(options.listen, (socket) => injector.injectConnection(socket), limits)
  const boot = randomBytes(4).toString('hex')
  const hub = createHub(options, { limits, boot, drop: (peer) => connections.drop(peer) })

  const counted = (handlers: UntypedServiceImplementation): UntypedServiceImplementation =>
    Object.fromEntries(
      Object.entries(handlers).map(([name, handler]) => [
        name,
        (call: AdsCall, ...rest: never[]) => {
          connections.called(call.getPeer())
          Reflect.apply(handler, undefined, [call, ...rest])
        },
      ]),
    )
  grpc.addService(
    adsService,
    counted({
      StreamAggregatedResources: (call: AdsCall) => serveStream(call, 'sotw', hub),
      DeltaAggregatedResources: (call: AdsCall) => serveStream(call, 'delta', hub),
    }),
  )
  for (const { definition, handlers } of options.services ?? []) grpc.addService(definition, counted(handlers))

  const timer = setInterval(() => hub.tick(hub.now()), 1000)
  timer.unref()
  const rounds = pushRounds(hub)

  const cut = () => {
    for (const stream of [...hub.streams]) stream.end(new Problem('unavailable', 'the relay asks you to dial again'))
  }

  return {
    port: connections.addresses[0]?.port ?? 0,
    addresses: connections.addresses,
    changed: rounds.changed,
    rotate: certificate.rotate,
    status: () => ({ proxies: [...hub.streams].flatMap(statusOf), quarantined: hub.quarantine.list() }),
    clients: (kind) =>
      [...hub.streams].flatMap((stream) => {
        const proxy = stream.proxy()
        return proxy?.kind === kind ? [{ proxy, types: typesOf(stream.state()) }] : []
      }),
    observables: () => ({
      ...hub.counts(),
      streams: hub.streams.size,
      connections: connections.count(),
      pendingTypes: [...hub.streams].reduce((sum, stream) => sum + pendingIn(stream), 0),
    }),
    cut,
    close: async () => {
      clearInterval(timer)
      cut()
      await setImmediate()
      injector.destroy()
      grpc.forceShutdown()
      connections.close()
    },
  }
}

/** So many streams are brought up to date before others get the processor. */
const streamsPerSlice = 64

/** Rounds over all streams: one at a time, and one more after it when anything changed meanwhile. */
function pushRounds(hub: Hub) {
  let running = false
  let dueSince: number | undefined
  const run = async () => {
    while (dueSince !== undefined) {
      const since = dueSince
      dueSince = undefined
      let done = 0
      for (const stream of [...hub.streams]) {
        stream.refresh(since)
        if (++done % streamsPerSlice === 0) await setImmediate()
      }
      hub.quarantine.keepOnly((type, name, version) => stillServed(hub, type, name, version))
    }
    running = false
  }
  return {
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
  return [{ id: proxy.id, identity: identityText(proxy.identity), mode, address: peer.address, connectedAt, types }]
}

const pendingIn = (stream: AdsStream) =>
  Object.values(typesOf(stream.state())).filter((status) => status.state === 'STALE').length
