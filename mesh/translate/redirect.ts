import { create } from '@bufbuild/protobuf'
import { Cluster_DiscoveryType, Cluster_LbPolicy, ClusterSchema } from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import { TrafficDirection } from '#gen/envoy/config/core/v3/base_pb.js'
import type { FilterChainSchema, ListenerFilterSchema } from '#gen/envoy/config/listener/v3/listener_components_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { HttpInspectorSchema } from '#gen/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.js'
import { OriginalDstSchema } from '#gen/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.js'
import { outboundNameOf } from '#mesh/model/host.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import { denialOf } from '#mesh/translate/admission.ts'
import type { Callable } from '#mesh/translate/callable.ts'
import { duration, encode, extension, type Fields, ownerOf, socketAddress } from '#mesh/translate/encode.ts'
import { connectionLog, outboundHttp, tcpTo } from '#mesh/translate/http.ts'
import { applicationProtocol, cutName, inboundChains, inboundNameOf, tlsInspector } from '#mesh/translate/inbound.ts'
import type { InboundShape } from '#mesh/translate/inbound-ports.ts'
import { httpOptions, noLimits } from '#mesh/translate/outbound-clusters.ts'
import { connectionMaxOf, cutChain, cutOf } from '#mesh/translate/outbound-listeners.ts'
import { serverTls } from '#mesh/translate/tls.ts'

type Chain = Fields<typeof FilterChainSchema>
type ClusterFields = Fields<typeof ClusterSchema>

const outboundPort = 15001
const inboundPort = 15006

const originalDst = extension('envoy.filters.listener.original_dst', OriginalDstSchema, {})
const httpInspector = extension('envoy.filters.listener.http_inspector', HttpInspectorSchema, {})

/** The Envoy clusters that every proxy with redirected traffic has. Names and shapes are istiod's. */
export const baseClusters: readonly XdsResource[] = [
  clusterResource({
    name: 'BlackHoleCluster',
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.STATIC },
    connectTimeout: duration(10_000),
  }),
  clusterResource({ ...passThrough('InboundPassthroughCluster'), upstreamBindConfig: localSource() }),
  clusterResource(passThrough('PassthroughCluster')),
]

/** Takes every redirected outgoing connection: hands it to the listener of its destination, or passes it on as it is. */
export const virtualOutbound = (transparent: boolean): XdsResource =>
  listenerResource({
    name: 'virtualOutbound',
    address: socketAddress('0.0.0.0', outboundPort),
    useOriginalDst: true,
    trafficDirection: TrafficDirection.OUTBOUND,
    ...(transparent ? { transparent } : {}),
    filterChains: [blackHole('virtualOutbound-blackhole', outboundPort)],
    defaultFilterChain: { name: 'virtualOutbound-catchall-tcp', filters: [tcpTo('PassthroughCluster')] },
  })

/** All HTTP services of one port: the Host decides; what is no HTTP is passed on as it is. */
export const redirectedHttpListener = (port: number, cut: number): XdsResource =>
  listenerResource({
    name: `0.0.0.0_${port}`,
    address: socketAddress('0.0.0.0', port),
    bindToPort: false,
    trafficDirection: TrafficDirection.OUTBOUND,
    listenerFilters: [httpInspector],
    listenerFiltersTimeout: duration(5000),
    continueOnListenerFiltersTimeout: true,
    filterChains: [
      {
        ...cutChain(`0.0.0.0_${port}`, cut),
        filterChainMatch: { transportProtocol: 'raw_buffer', applicationProtocols: ['http/1.1', 'h2c'] },
        filters: [outboundHttp({ statPrefix: `outbound_0.0.0.0_${port};`, routes: String(port) })],
      },
    ],
    defaultFilterChain: { name: 'PassthroughFilterChain', filters: [tcpTo('PassthroughCluster')] },
  })

/** One TCP or TLS service at one of its own addresses, or at one of its pods where it is headless. */
export const redirectedTcpListener = (address: string, callable: Callable, port = callable.port.port): XdsResource =>
  listenerResource(
    {
      name: `${address}_${port}`,
      address: socketAddress(address, port),
      bindToPort: false,
      trafficDirection: TrafficDirection.OUTBOUND,
      filterChains: [
        {
          ...cutChain(`${address}_${port}`, cutOf(callable)),
          filters: [tcpTo(outboundNameOf(callable.host, callable.port.port), connectionMaxOf(callable))],
        },
      ],
    },
    callable.key,
  )

/** Names listener and chains of all ports, and the secret of those behind no service: the own trust domain may call them. */
export const virtualInboundName = 'virtualInbound'

/** What ports behind no service take: whom they deny, and the latest revocation that ends what is open on them. */
export type RestPorts = Pick<InboundShape, 'mode' | 'denied' | 'cut'>

/**
 * Takes every redirected incoming connection, by the port it was meant for. The listener looks for TLS except at ports
 * that take none: a server that speaks first would wait there for the time-out.
 */
export function virtualInbound(facts: {
  readonly ports: readonly InboundShape[]
  readonly rest: RestPorts
  readonly transparent: boolean
}): XdsResource {
  const { ports, rest, transparent } = facts
  return listenerResource({
    name: virtualInboundName,
    address: socketAddress('0.0.0.0', inboundPort),
    trafficDirection: TrafficDirection.INBOUND,
    ...(transparent ? { transparent } : {}),
    listenerFilters: [originalDst, { ...tlsInspector, ...disabledAt([inboundPort, ...plainPorts(ports)]) }],
    listenerFiltersTimeout: duration(5000),
    continueOnListenerFiltersTimeout: true,
    filterChains: [
      blackHole('virtualInbound-blackhole', inboundPort),
      ...ports.flatMap((port) => inboundChains(port).map((chain) => atPort(port, chain))),
      ...restChains(rest),
    ],
    accessLog: [connectionLog],
  })
}

const plainPorts = (ports: readonly InboundShape[]): readonly number[] =>
  ports.filter((p) => p.mode === 'DISABLE').map((p) => p.port)

const atPort = ({ port, cut }: InboundShape, chain: Chain): Chain => ({
  ...chain,
  name: cutName(`0.0.0.0_${port}`, chain.transportSocket ? cut : 0),
  filterChainMatch: {
    ...(chain.transportSocket ? { transportProtocol: 'tls' } : {}),
    ...chain.filterChainMatch,
    destinationPort: port,
  },
})

function restChains({ mode, denied, cut }: RestPorts): Chain[] {
  const name = virtualInboundName
  const filters = [tcpTo('InboundPassthroughCluster')]
  const plain: Chain = { name, filters, filterChainMatch: { transportProtocol: 'raw_buffer' } }
  const mutual: Chain = {
    name: cutName(name, cut),
    filters: [...denialOf(denied), ...filters],
    filterChainMatch: { transportProtocol: 'tls' },
    transportSocketConnectTimeout: duration(15_000),
    transportSocket: serverTls(name, ['istio', 'h2', 'http/1.1']),
  }
  if (mode === 'DISABLE') return [{ name, filters }]
  return mode === 'STRICT' ? [mutual] : [mutual, plain]
}

/** The application behind one inbound port, at the address that the connection was meant for. */
export const redirectedInboundCluster = (inbound: InboundShape): XdsResource =>
  clusterResource(
    {
      name: inboundNameOf(inbound.port),
      clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.ORIGINAL_DST },
      lbPolicy: Cluster_LbPolicy.CLUSTER_PROVIDED,
      connectTimeout: duration(10_000),
      circuitBreakers: noLimits,
      upstreamBindConfig: localSource(),
      ...applicationProtocol(inbound),
    },
    inbound.service,
  )

/** A connection to the proxy's own port would come back to it for ever. */
const blackHole = (name: string, port: number): Chain => ({
  name,
  filterChainMatch: { destinationPort: port },
  filters: [tcpTo('BlackHoleCluster')],
})

function disabledAt(ports: readonly number[]): Fields<typeof ListenerFilterSchema> {
  const rules = ports.map((port) => ({
    rule: { case: 'destinationPortRange' as const, value: { start: port, end: port + 1 } },
  }))
  const [only, ...more] = rules
  return { filterDisabled: more.length > 0 ? { rule: { case: 'orMatch', value: { rules } } } : { ...only } }
}

function passThrough(name: string): ClusterFields & { readonly name: string } {
  return {
    name,
    altStatName: `${name};`,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.ORIGINAL_DST },
    lbPolicy: Cluster_LbPolicy.CLUSTER_PROVIDED,
    connectTimeout: duration(10_000),
    circuitBreakers: noLimits,
    ...httpOptions({
      commonHttpProtocolOptions: { idleTimeout: duration(300_000) },
      upstreamProtocolOptions: {
        case: 'useDownstreamProtocolConfig',
        value: { httpProtocolOptions: {}, http2ProtocolOptions: {} },
      },
    }),
  }
}

/** The address that redirection rules leave alone, so that the proxy's own calls to the application are not taken again. */
function localSource() {
  return { sourceAddress: { address: '127.0.0.6', portSpecifier: { case: 'portValue' as const, value: 0 } } }
}

function clusterResource(fields: ClusterFields & { readonly name: string }, key?: string): XdsResource {
  const owner = key === undefined ? undefined : ownerOf(key)
  return encode({ type: typeUrls.cluster, name: fields.name, owner }, ClusterSchema, create(ClusterSchema, fields))
}

function listenerResource(
  fields: Fields<typeof ListenerSchema> & { readonly name: string },
  key?: string,
): XdsResource {
  const owner = key === undefined ? undefined : ownerOf(key)
  return encode({ type: typeUrls.listener, name: fields.name, owner }, ListenerSchema, create(ListenerSchema, fields))
}
