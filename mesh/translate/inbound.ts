import { create } from '@bufbuild/protobuf'
import { Cluster_DiscoveryType, ClusterSchema } from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import { TrafficDirection } from '#gen/envoy/config/core/v3/base_pb.js'
import type { FilterChainSchema } from '#gen/envoy/config/listener/v3/listener_components_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { RouteConfigurationSchema } from '#gen/envoy/config/route/v3/route_pb.js'
import { TlsInspectorSchema } from '#gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.js'
import type { PlainAddresses } from '#mesh/model/proxy.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import { isHttp } from '#mesh/model/service.ts'
import { admissionRule, denialOf } from '#mesh/translate/admission.ts'
import { duration, encode, extension, type Fields, fromAds, ownerOf, socketAddress } from '#mesh/translate/encode.ts'
import { connectionLog, inboundHttp, tcpTo } from '#mesh/translate/http.ts'
import type { InboundPort, InboundShape } from '#mesh/translate/inbound-ports.ts'
import { noLimits, upstreamHttp2 } from '#mesh/translate/outbound-clusters.ts'
import { meshAlpn, serverTls } from '#mesh/translate/tls.ts'

type Chain = Fields<typeof FilterChainSchema>

/** Envoy cluster, route configuration, secret and chains of one inbound port. Source: istiod. */
export const inboundNameOf = (port: number): string => `inbound|${port}||`

/**
 * The name of a filter chain that a revocation replaces: Envoy ends what is open on the one before within the drain time.
 * Only the chain is renamed; secrets, routes and Envoy clusters keep their names, and so are not replaced.
 */
export const cutName = (name: string, cut: number): string => (cut === 0 ? name : `${name}#${cut}`)

export const tlsInspector = extension('envoy.filters.listener.tls_inspector', TlsInspectorSchema, {})

/** Without redirection: the listener at the pod's own address for one port. */
export function plainInboundListener(inbound: InboundShape): XdsResource {
  const name = `${inbound.address}_${inbound.port}`
  const message = create(ListenerSchema, {
    name,
    address: socketAddress(inbound.address, inbound.port),
    trafficDirection: TrafficDirection.INBOUND,
    filterChains: inboundChains(inbound),
    ...(inbound.mode === 'PERMISSIVE'
      ? { listenerFilters: [tlsInspector], listenerFiltersTimeout: duration(5000) }
      : {}),
    accessLog: [connectionLog],
  })
  return encode({ type: typeUrls.listener, name, owner: ownerOf(inbound.service) }, ListenerSchema, message)
}

/**
 * What one inbound port accepts. STRICT: mutual TLS only. PERMISSIVE: mutual TLS where the caller says so by ALPN,
 * plaintext beside it, and on a stream port the application's own TLS too. DISABLE: plaintext only. Whom mutual TLS
 * admits stands in the secret of the port's name.
 */
export function inboundChains(inbound: InboundShape): Chain[] {
  const name = inboundNameOf(inbound.port)
  const http = isHttp(inbound.protocol)
  const filters = [
    http
      ? inboundHttp({
          statPrefix: `inbound_0.0.0.0_${inbound.port};`,
          routeSpecifier: { case: 'rds', value: { configSource: fromAds, routeConfigName: name } },
        })
      : tcpTo(name),
  ]
  const mutual: Chain = {
    name: cutName(name, inbound.cut),
    filters: [...denialOf(inbound.denied), ...filters],
    transportSocketConnectTimeout: duration(15_000),
    transportSocket: serverTls(name, http ? ['h2', 'http/1.1'] : ['istio', 'h2', 'http/1.1']),
  }
  if (inbound.mode === 'STRICT') return [mutual]
  const plain: Chain = { name: `${name}plain`, filters }
  if (inbound.mode === 'DISABLE') return [plain]
  const byCaller = { transportProtocol: 'tls', applicationProtocols: [...meshAlpn] }
  return [
    { ...mutual, filterChainMatch: byCaller },
    { ...plain, filterChainMatch: { transportProtocol: 'raw_buffer' } },
    ...(http ? [] : [{ name: `${name}tls`, filters, filterChainMatch: { transportProtocol: 'tls' } }]),
  ]
}

/** The routes of one inbound HTTP port: by RDS, because who may call must reach open connections. */
export function inboundRoutes(inbound: InboundPort): XdsResource {
  const name = inboundNameOf(inbound.port)
  const retry = inbound.protocol === 'grpc' ? {} : { retryPolicy: { retryOn: 'reset-before-request', numRetries: 2 } }
  const message = create(RouteConfigurationSchema, {
    name,
    validateClusters: false,
    virtualHosts: [
      {
        name: `inbound|http|${inbound.port}`,
        domains: ['*'],
        typedPerFilterConfig: admissionRule(inbound),
        routes: [
          {
            name: 'default',
            match: { pathSpecifier: { case: 'prefix', value: '/' } },
            action: {
              case: 'route',
              value: { clusterSpecifier: { case: 'cluster', value: name }, timeout: duration(0), ...retry },
            },
          },
        ],
      },
    ],
  })
  return encode({ type: typeUrls.route, name, owner: ownerOf(inbound.service) }, RouteConfigurationSchema, message)
}

/** Without redirection: the application's own address. It is spoken to in its own protocol, never in the caller's. */
export function plainInboundCluster(inbound: InboundShape, plain: PlainAddresses): XdsResource {
  const name = inboundNameOf(inbound.port)
  const message = create(ClusterSchema, {
    name,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.STATIC },
    connectTimeout: duration(1000),
    circuitBreakers: noLimits,
    loadAssignment: {
      clusterName: name,
      endpoints: [
        {
          lbEndpoints: [
            {
              hostIdentifier: {
                case: 'endpoint',
                value: { address: socketAddress(plain.application, inbound.port) },
              },
            },
          ],
        },
      ],
    },
    ...applicationProtocol(inbound),
  })
  return encode({ type: typeUrls.cluster, name, owner: ownerOf(inbound.service) }, ClusterSchema, message)
}

export const applicationProtocol = (inbound: InboundShape): Fields<typeof ClusterSchema> =>
  inbound.protocol === 'http2' || inbound.protocol === 'grpc' ? upstreamHttp2({}) : {}
