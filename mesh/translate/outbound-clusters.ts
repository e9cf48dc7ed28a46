import { create } from '@bufbuild/protobuf'
import { CircuitBreakersSchema } from '#gen/envoy/config/cluster/v3/circuit_breaker_pb.js'
import {
  Cluster_CommonLbConfigSchema,
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  type Cluster_TransportSocketMatchSchema,
  ClusterSchema,
} from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import type { OutlierDetectionSchema } from '#gen/envoy/config/cluster/v3/outlier_detection_pb.js'
import { RoutingPriority } from '#gen/envoy/config/core/v3/base_pb.js'
import type { Http2ProtocolOptionsSchema, KeepaliveSettingsSchema } from '#gen/envoy/config/core/v3/protocol_pb.js'
import { SocketOption_SocketState } from '#gen/envoy/config/core/v3/socket_option_pb.js'
import { HttpProtocolOptionsSchema } from '#gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.js'
import type { CompiledPolicy } from '#mesh/model/cluster-config.ts'
import { hostOf, outboundNameOf, sniOf } from '#mesh/model/host.ts'
import { partsOf } from '#mesh/model/id.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import { isHttp } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import type { Callable, Road } from '#mesh/translate/callable.ts'
import { any, duration, encode, type Fields, fromAds, ownerOf } from '#mesh/translate/encode.ts'
import { accountsOf, ownPodsOf } from '#mesh/translate/own-pods.ts'
import { clientTls, idExactly, idsOf, type Name, nobody, orNobody, plainSocket } from '#mesh/translate/tls.ts'
import { deniedOf, ownTrustDomains } from '#mesh/translate/trust.ts'

type ClusterInit = Fields<typeof ClusterSchema>

/**
 * The Envoy cluster of an own headless service where traffic is redirected: each call goes to the address that the
 * application chose. One socket for all of them, since such a cluster knows no endpoints: mutual TLS where every pod
 * takes it. Source: istiod.
 */
export function chosenAddressClusterOf(view: View, callable: Callable): XdsResource {
  const pods = ownPodsOf(view, callable.key, callable.port)
  const { protocol, port } = callable.port
  const tls = clientTls({ sni: sniOf(callable.host, port), names: ownNames(view, callable) })
  return clusterResource(callable, {
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.ORIGINAL_DST },
    lbPolicy: Cluster_LbPolicy.CLUSTER_PROVIDED,
    connectTimeout: duration(10_000),
    ...(pods.length > 0 && pods.every(({ meshed }) => meshed) ? { transportSocket: tls } : {}),
    ...(protocol === 'http2' || protocol === 'grpc' ? upstreamHttp2({}) : {}),
  })
}

/** The Envoy cluster of one callable: istiod's shape for a local one, everything that failover needs for a federated one. */
export function outboundClusterOf(view: View, callable: Callable): XdsResource {
  const shape = callable.road === undefined ? localShape(view, callable) : federatedShape(view, callable, callable.road)
  return clusterResource(callable, {
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: fromAds, serviceName: outboundNameOf(callable.host, callable.port.port) },
    lbPolicy: Cluster_LbPolicy.LEAST_REQUEST,
    ...shape,
  })
}

function clusterResource(callable: Callable, shape: ClusterInit): XdsResource {
  const name = outboundNameOf(callable.host, callable.port.port)
  const service = partsOf(callable.key)
  const message = create(ClusterSchema, {
    name,
    altStatName: `${name};`,
    circuitBreakers: noLimits,
    metadata: {
      filterMetadata: {
        istio: { services: [{ host: callable.host, name: service.name, namespace: service.namespace }] },
      },
    },
    ...shape,
  })
  return encode({ type: typeUrls.cluster, name, owner: ownerOf(callable.key) }, ClusterSchema, message)
}

/** Mutual TLS to pods that carry `tlsMode: istio`, plaintext to the others. Source: istiod, auto mTLS. */
function localShape(view: View, callable: Callable): ClusterInit {
  const { protocol, port } = callable.port
  return {
    connectTimeout: duration(10_000),
    commonLbConfig: { healthyPanicThreshold: { value: 1 } },
    transportSocketMatches: [
      {
        name: 'tlsMode-istio',
        match: { tlsMode: 'istio' },
        transportSocket: clientTls({ sni: sniOf(hostOf(callable.key), port), names: ownNames(view, callable) }),
      },
      { name: 'tlsMode-disabled', match: {}, transportSocket: plainSocket },
    ],
    ...(protocol === 'http2' || protocol === 'grpc' ? upstreamHttp2({}) : {}),
  }
}

/**
 * One socket per source cluster with its exact identities, chosen by the endpoint's own label; a host that no match
 * knows (endpoints may come before their cluster) meets a socket that trusts nobody, so that it never gets plaintext.
 *
 * A merge window of a second, a panic threshold of 50, an ejection bound of 10 % and the standard circuit breakers each
 * void failover (measured), so all are said. PING finds a silent HTTP/2 road, user timeout a busy silent stream, and
 * keepalive an idle one. An ejection lasts until the relay has its verdict: one of 5 s sent every call back to a hung
 * gateway once more, for a second each.
 */
function federatedShape(view: View, callable: Callable, road: Road): ClusterInit {
  const { settings, policy } = road.imported
  const sni = sniOf(road.imported.host, callable.port.port)
  const matches: Fields<typeof Cluster_TransportSocketMatchSchema>[] = road.sources.map((source) => {
    const own = source.cluster === view.home.cluster ? ownIds(view, callable) : []
    const names = uniqueNames([...source.identities.map(idExactly), ...own])
    return {
      name: source.cluster,
      match: { cluster: source.cluster },
      transportSocket: clientTls({ sni, names: orNobody(names) }),
    }
  })
  const isMixed = hasPlainPods(view, callable, road)
  const plain = isMixed
    ? [{ name: 'tlsMode-disabled', match: { tlsMode: 'disabled' }, transportSocket: plainSocket }]
    : []
  return {
    connectTimeout: duration(settings.connectTimeoutMs),
    commonLbConfig: federatedLb,
    outlierDetection: {
      ...localOriginOnly,
      consecutiveLocalOriginFailure: settings.ejectAfterFailures,
      ...ejectionTimes(policy),
    },
    upstreamConnectionOptions: {
      tcpKeepalive: { keepaliveTime: 10, keepaliveInterval: 5, keepaliveProbes: 3 },
    },
    upstreamBindConfig: { socketOptions: [tcpUserTimeout(5000)] },
    transportSocketMatches: [...matches, ...plain],
    transportSocket: clientTls({ sni, names: [nobody] }),
    ...(isHttp(callable.port.protocol) ? federatedHttp(callable, { isMixed, policy }) : {}),
  }
}

/**
 * The first ejection of a host, and the longest of those that follow each other. Three probes of a gateway that answers
 * nothing have failed after 10 s, and the word has gone round in 11. Where a policy says one of the two, the other gives
 * way, and the longest where it says both: Envoy refuses a first one that is longer than the longest.
 */
export function ejectionTimes(
  policy?: Pick<CompiledPolicy, 'baseEjectionMs' | 'maxEjectionMs'>,
): Fields<typeof OutlierDetectionSchema> {
  const { baseEjectionMs, maxEjectionMs } = policy ?? {}
  const first = baseEjectionMs ?? Math.min(11_000, maxEjectionMs ?? 30_000)
  return {
    baseEjectionTime: duration(first),
    maxEjectionTime: duration(Math.max(maxEjectionMs ?? 30_000, first)),
  }
}

/** HTTP/2 on every road; only plain HTTP/1.1 where pods without a proxy of their own are among those called. */
const federatedHttp = (
  callable: Callable,
  { isMixed, policy }: { readonly isMixed: boolean; readonly policy: CompiledPolicy | undefined },
): ClusterInit =>
  isMixed && callable.port.protocol === 'http'
    ? upstreamHttp1(policy)
    : upstreamHttp2({ allowConnect: true, connectionKeepalive: ping }, policy)

/**
 * A call on a connection that has brought nothing for 0.3 s sends a PING before itself, so a busy caller knows after 1.8 s
 * that a road is silent (with 2 s and 1 s it took up to 3.3 s, and 4.3 s were measured); one that only waits, by the
 * interval. It is the far proxy that answers, so a callee that is slow is not taken for dead, and its machine may
 * stand still for 1.5 s.
 */
const ping: Fields<typeof KeepaliveSettingsSchema> = {
  interval: duration(2000),
  timeout: duration(1500),
  intervalJitter: { value: 15 },
  connectionIdleInterval: duration(300),
}

/** Connections are renewed after 1,000 requests, so that load behind a gateway spreads over its pods again and again. */
export const upstreamHttp2 = (
  options: Fields<typeof Http2ProtocolOptionsSchema>,
  policy?: CompiledPolicy,
): ClusterInit =>
  httpOptions({
    ...renewed(policy),
    upstreamProtocolOptions: {
      case: 'explicitHttpConfig',
      value: { protocolConfig: { case: 'http2ProtocolOptions', value: options } },
    },
  })

const upstreamHttp1 = (policy?: CompiledPolicy): ClusterInit =>
  httpOptions({
    ...renewed(policy),
    upstreamProtocolOptions: {
      case: 'explicitHttpConfig',
      value: { protocolConfig: { case: 'httpProtocolOptions', value: {} } },
    },
  })

/** After so many requests, and after so long where a policy says so: the connection ends with its last stream. */
const renewed = (policy?: CompiledPolicy): Fields<typeof HttpProtocolOptionsSchema> => ({
  commonHttpProtocolOptions: {
    maxRequestsPerConnection: 1000,
    ...(policy?.connectionMaxMs === undefined ? {} : { maxConnectionDuration: duration(policy.connectionMaxMs) }),
  },
})

export const httpOptions = (options: Fields<typeof HttpProtocolOptionsSchema>): ClusterInit => ({
  typedExtensionProtocolOptions: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': any(HttpProtocolOptionsSchema, options),
  },
})

/** Any id of the own trust domain where no pod was ever seen: a local service has no other list of accounts. */
const ownNames = (view: View, callable: Callable): readonly Name[] =>
  accountsOf(view, callable.key).length > 0
    ? orNobody(ownIds(view, callable))
    : orNobody(ownTrustDomains(view).map(idsOf))

/** The ids of the own pods, from what is seen here: acts at once, before the centre has compiled it. Denied ones answer for nobody. */
function ownIds(view: View, callable: Callable): readonly Name[] {
  const domains = ownTrustDomains(view)
  const denied = new Set(deniedOf(view, domains).map(({ id }) => id))
  const { namespace } = partsOf(callable.key)
  return domains
    .flatMap((domain) =>
      accountsOf(view, callable.key).map((account) => `spiffe://${domain}/ns/${namespace}/sa/${account}`),
    )
    .filter((id) => !denied.has(id))
    .map(idExactly)
}

const uniqueNames = (names: readonly Name[]): readonly Name[] => [...new Map(names.map((n) => [n.text, n])).values()]

const hasPlainPods = (view: View, callable: Callable, road: Road): boolean =>
  road.sources.some((s) => s.cluster === view.home.cluster) &&
  ownPodsOf(view, callable.key, callable.port).some((pod) => !pod.meshed)

const unlimited = {
  maxConnections: 4294967295,
  maxPendingRequests: 4294967295,
  maxRequests: 4294967295,
  maxRetries: 4294967295,
}

/** Envoy's standard allows three retries at a time, which voids every retry policy. */
export const noLimits = create(CircuitBreakersSchema, {
  thresholds: [unlimited, { priority: RoutingPriority.HIGH, ...unlimited }],
})

const federatedLb = create(Cluster_CommonLbConfigSchema, {
  healthyPanicThreshold: { value: 1 },
  updateMergeWindow: duration(0),
  localityConfigSpecifier: { case: 'localityWeightedLbConfig', value: {} },
})

/** Ejects for what happens on the road (connect, TLS, reset), never for an answer. */
export const localOriginOnly: Fields<typeof OutlierDetectionSchema> = {
  splitExternalLocalOriginErrors: true,
  enforcingConsecutiveLocalOriginFailure: 100,
  consecutive5xx: 0,
  consecutiveGatewayFailure: 0,
  enforcingConsecutive5xx: 0,
  enforcingConsecutiveGatewayFailure: 0,
  enforcingSuccessRate: 0,
  enforcingLocalOriginSuccessRate: 0,
  enforcingFailurePercentage: 0,
  enforcingFailurePercentageLocalOrigin: 0,
  interval: duration(1000),
  baseEjectionTime: duration(5000),
  maxEjectionTime: duration(30_000),
  maxEjectionPercent: 100,
}

/** TCP_USER_TIMEOUT (Linux: level 6, name 18). */
const tcpUserTimeout = (ms: number) => ({
  level: 6n,
  name: 18n,
  value: { case: 'intValue' as const, value: BigInt(ms) },
  state: SocketOption_SocketState.STATE_PREBIND,
})
