import { connect } from 'node:http2'
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { anyUnpack } from '@bufbuild/protobuf/wkt'
import { Client, type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js'
import { Cluster_DiscoveryType, ClusterSchema } from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import type { NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { HttpConnectionManagerSchema } from '#gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '#gen/envoy/service/discovery/v3/discovery_pb.js'
import { type TypeUrl, typeUrls } from '#mesh/model/resource.ts'

export type AdsMode = 'delta' | 'sotw'
export type HeldResource = { readonly version: string; readonly bytes: Uint8Array }

/** One response as either form carries it. */
export type AdsAnswer = {
  readonly type: string
  readonly nonce: string
  readonly resources: readonly { readonly name: string; readonly version: string; readonly bytes: Uint8Array }[]
  readonly removed: readonly string[]
}

export type AdsDial = {
  readonly port: number
  readonly host?: string
  readonly mode: AdsMode
  /** The root that the relay's certificate must lead to. */
  readonly relayRoots: string
  readonly certificate?: { readonly chainPem: string; readonly keyPem: string } | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly serverName?: string
}

type Asked = Pick<
  DeltaDiscoveryRequest,
  'resourceNamesSubscribe' | 'resourceNamesUnsubscribe' | 'initialResourceVersions' | 'responseNonce'
> & { readonly errorDetail: { readonly code: number; readonly message: string } }

export type RawStream = {
  readonly call: ClientDuplexStream<Buffer, Buffer>
  readonly ask: (request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>) => void
  /** Resolves when the stream ends: gRPC status code and its text. */
  readonly ended: Promise<{ readonly code: number; readonly details: string }>
  readonly close: () => void
}

/** One ADS stream and nothing that answers on it. Nothing is read until somebody listens on `call`. */
export function openRaw(dial: AdsDial): RawStream {
  const { mode, certificate } = dial
  const secure = credentials.createSsl(
    Buffer.from(dial.relayRoots),
    certificate ? Buffer.from(certificate.keyPem) : null,
    certificate ? Buffer.from(certificate.chainPem) : null,
  )
  const client = new Client(`${dial.host ?? '127.0.0.1'}:${dial.port}`, secure, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': -1,
    ...(dial.serverName && { 'grpc.ssl_target_name_override': dial.serverName }),
  })
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(dial.headers ?? {})) metadata.set(name, value)
  const asIs = (bytes: Buffer) => bytes
  const call = client.makeBidiStreamRequest<Buffer, Buffer>(pathOf(mode), asIs, asIs, metadata, {})
  call.on('error', () => undefined)
  const ended = new Promise<{ code: number; details: string }>((resolve) => {
    call.on('status', ({ code, details }) => {
      resolve({ code, details })
      client.close()
    })
  })
  return {
    call,
    ended,
    ask: (request) => call.write(encodeRequest(mode, create(DeltaDiscoveryRequestSchema, request))),
    close: () => call.cancel(),
  }
}

/** A client below grpc that sends one request and then never opens its window again: not one whole message is read. */
export function openDeaf(dial: AdsDial, request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>) {
  const { certificate } = dial
  const session = connect(`https://127.0.0.1:${dial.port}`, {
    ca: dial.relayRoots,
    ...(certificate && { cert: certificate.chainPem, key: certificate.keyPem }),
  })
  const call = session.request({
    ':method': 'POST',
    ':path': pathOf(dial.mode),
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  const ended = new Promise<void>((resolve) => session.once('close', resolve))
  for (const one of [session, call]) one.on('error', () => undefined)
  const message = encodeRequest(dial.mode, create(DeltaDiscoveryRequestSchema, request))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  call.write(Buffer.concat([head, message]))
  return { ended, close: () => session.destroy() }
}

const pathOf = (mode: AdsMode) =>
  `/envoy.service.discovery.v3.AggregatedDiscoveryService/${mode === 'delta' ? 'Delta' : 'Stream'}AggregatedResources`

/** State of the world carries the same facts under other names; `resourceNamesSubscribe` is then the whole list. */
function encodeRequest(mode: AdsMode, request: DeltaDiscoveryRequest): Buffer {
  if (mode === 'delta') return Buffer.from(toBinary(DeltaDiscoveryRequestSchema, request))
  const { node, typeUrl, responseNonce, errorDetail, resourceNamesSubscribe: resourceNames } = request
  const versionInfo = Object.values(request.initialResourceVersions)[0] ?? ''
  const whole = create(DiscoveryRequestSchema, {
    ...{ typeUrl, responseNonce, resourceNames, versionInfo },
    ...(node && { node }),
    ...(errorDetail && { errorDetail }),
  })
  return Buffer.from(toBinary(DiscoveryRequestSchema, whole))
}

export function parseAnswer(mode: AdsMode, bytes: Uint8Array): AdsAnswer {
  if (mode === 'delta') {
    const { typeUrl, nonce, resources, removedResources } = fromBinary(DeltaDiscoveryResponseSchema, bytes)
    return {
      type: typeUrl,
      nonce,
      removed: removedResources,
      resources: resources.map((r) => ({ name: r.name, version: r.version, bytes: r.resource?.value ?? bytes })),
    }
  }
  const { typeUrl, nonce, resources, versionInfo } = fromBinary(DiscoveryResponseSchema, bytes)
  const named = resources.map((any) => ({ name: nameIn(any.value), version: versionInfo, bytes: any.value }))
  return { type: typeUrl, nonce, resources: named, removed: [] }
}

/** Clusters, load assignments, listeners and routes all begin with their name in field 1. */
const nameIn = (bytes: Uint8Array) => Buffer.from(bytes.subarray(2, 2 + (bytes[1] ?? 0))).toString()

export type ProxyOptions = AdsDial & {
  readonly node: MessageInitShape<typeof NodeSchema>
  /** Why a resource is refused; undefined = it is taken. Good ones beside it are taken all the same, as Envoy does. */
  readonly refuses?: (type: string, name: string, bytes: Uint8Array) => string | undefined
  /** What an earlier stream left behind: this one then asks for everything at once. */
  readonly memory?: ProxyMemory
}

export type ProxyMemory = { readonly held: ReadonlyMap<string, Map<string, HeldResource>> }

export type ScriptedProxy = RawStream & {
  readonly memory: ProxyMemory
  /** Responses and requests in order: `< cds a,b -c`, `> eds +a`, `> cds ack`, `> cds nack`. */
  readonly wire: readonly string[]
  /** Listeners came, and every route and every endpoint list that something refers to. */
  readonly ready: Promise<void>
  readonly names: (type: TypeUrl) => readonly string[]
  /** Resolves once `holds` is true, which is looked at after every response. */
  readonly until: (holds: () => boolean) => Promise<void>
}

const short = (type: string) =>
  ({
    [typeUrls.cluster]: 'cds',
    [typeUrls.endpoint]: 'eds',
    [typeUrls.listener]: 'lds',
    [typeUrls.route]: 'rds',
  })[type] ?? type

/**
 * A client that behaves on the wire as Istio's agent with a real Envoy was recorded: clusters first; endpoints are asked
 * for before the clusters are acknowledged; listeners only when every cluster has its endpoints; routes before the
 * listeners are acknowledged. On a second stream it asks for all four at once, with the versions it holds. The node
 * travels on the first message only.
 */
export function openProxy(options: ProxyOptions): ScriptedProxy {
  const { mode } = options
  const stream = openRaw(options)
  const again = options.memory !== undefined
  const held = new Map(Object.values(typeUrls).map((type) => [type as string, new Map<string, HeldResource>()]))
  for (const [type, resources] of options.memory?.held ?? []) held.set(type, new Map(resources))
  const of = (type: string) => held.get(type) ?? new Map<string, HeldResource>()
  const wire: string[] = []
  const subscribed = new Map<string, Set<string>>()
  const nonces = new Map<string, string>()
  const answered = new Set<string>()
  const waiting = new Set<{ holds: () => boolean; done: () => void }>()
  let first = true
  let listenersAsked = false

  const ask = (type: string, more: Partial<Asked>) => {
    stream.ask({ typeUrl: type, ...(first && { node: options.node }), ...more })
    first = false
  }
  const subscribe = (type: string, wanted: Iterable<string>) => {
    const before = subscribed.get(type) ?? new Set()
    const now = new Set(wanted)
    subscribed.set(type, now)
    const added = [...now.difference(before)]
    const dropped = [...before.difference(now)]
    for (const name of dropped) of(type).delete(name)
    if (added.length + dropped.length === 0) return
    wire.push(`> ${short(type)} ${[...added.map((n) => `+${n}`), ...dropped.map((n) => `~${n}`)].join(',')}`)
    if (mode === 'delta') ask(type, { resourceNamesSubscribe: added, resourceNamesUnsubscribe: dropped })
    else ask(type, { resourceNamesSubscribe: [...now], responseNonce: nonces.get(type) ?? '' })
  }
  const askAll = (type: string) => {
    wire.push(`> ${short(type)}`)
    ask(type, again ? { initialResourceVersions: versionsOf(of(type)) } : {})
  }

  const apply = ({ type, nonce, resources, removed }: AdsAnswer) => {
    const faults = resources.flatMap(({ name, version, bytes }) => {
      const fault = options.refuses?.(type, name, bytes)
      if (fault === undefined) of(type).set(name, { version, bytes })
      return fault ?? []
    })
    for (const name of removed) of(type).delete(name)
    if (mode === 'sotw' && (type === typeUrls.cluster || type === typeUrls.listener)) {
      const listed = new Set(resources.map((r) => r.name))
      for (const name of of(type).keys()) if (!listed.has(name)) of(type).delete(name)
    }
    wire.push(`< ${short(type)} ${[...resources.map((r) => r.name), ...removed.map((n) => `-${n}`)].join(',')}`.trim())
    nonces.set(type, nonce)
    answered.add(type)
    if (faults.length === 0 && type === typeUrls.cluster) subscribe(typeUrls.endpoint, endpointNames(of(type)))
    if (faults.length === 0 && type === typeUrls.listener) subscribe(typeUrls.route, routeNames(of(type)))
    wire.push(`> ${short(type)} ${faults.length === 0 ? 'ack' : 'nack'}`)
    ask(type, {
      responseNonce: nonce,
      ...(mode === 'sotw' && { resourceNamesSubscribe: [...(subscribed.get(type) ?? [])] }),
      ...(faults.length > 0 && { errorDetail: { code: 13, message: faults.join(', ') } }),
    })
    if (!listenersAsked && answered.has(typeUrls.cluster) && warm()) {
      listenersAsked = true
      askAll(typeUrls.listener)
    }
  }
  const warm = () => [...(subscribed.get(typeUrls.endpoint) ?? [])].every((name) => of(typeUrls.endpoint).has(name))
  const isReady = () =>
    answered.has(typeUrls.listener) &&
    [...(subscribed.get(typeUrls.route) ?? [])].every((name) => of(typeUrls.route).has(name))

  const until = (holds: () => boolean) =>
    new Promise<void>((done) => {
      if (holds()) done()
      else waiting.add({ holds, done })
    })
  stream.call.on('data', (bytes: Buffer) => {
    apply(parseAnswer(mode, bytes))
    for (const one of waiting)
      if (one.holds()) {
        waiting.delete(one)
        one.done()
      }
  })

  if (!again) askAll(typeUrls.cluster)
  else {
    listenersAsked = true
    for (const type of [typeUrls.cluster, typeUrls.endpoint, typeUrls.listener, typeUrls.route]) {
      const names = [...of(type).keys()]
      const named = type === typeUrls.endpoint || type === typeUrls.route
      if (named) subscribed.set(type, new Set(names))
      if (named && names.length === 0) continue
      wire.push(`> ${short(type)} again`)
      ask(type, {
        initialResourceVersions: versionsOf(of(type)),
        ...(named && { resourceNamesSubscribe: names }),
      })
    }
  }
  return {
    ...stream,
    memory: { held },
    wire,
    until,
    ready: until(isReady),
    names: (type) => [...of(type).keys()].toSorted(),
  }
}

const versionsOf = (held: ReadonlyMap<string, HeldResource>) =>
  Object.fromEntries([...held].map(([name, { version }]) => [name, version]))

function endpointNames(clusters: ReadonlyMap<string, HeldResource>): string[] {
  return [...clusters].flatMap(([name, { bytes }]) => {
    const cluster = fromBinary(ClusterSchema, bytes)
    const type = cluster.clusterDiscoveryType
    if (type.case !== 'type' || type.value !== Cluster_DiscoveryType.EDS) return []
    return [cluster.edsClusterConfig?.serviceName || name]
  })
}

function routeNames(listeners: ReadonlyMap<string, HeldResource>): Set<string> {
  const filters = [...listeners.values()].flatMap(({ bytes }) => {
    const listener = fromBinary(ListenerSchema, bytes)
    const chains = [...listener.filterChains, ...(listener.defaultFilterChain ? [listener.defaultFilterChain] : [])]
    return chains.flatMap((chain) => chain.filters)
  })
  return new Set(
    filters.flatMap(({ configType }) => {
      if (configType.case !== 'typedConfig') return []
      const routes = anyUnpack(configType.value, HttpConnectionManagerSchema)?.routeSpecifier
      return routes?.case === 'rds' ? [routes.value.routeConfigName] : []
    }),
  )
}
