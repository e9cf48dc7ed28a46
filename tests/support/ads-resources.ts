import { createRegistry, type DescMessage, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf'
import { ClusterSchema } from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import { ClusterLoadAssignmentSchema } from '#gen/envoy/config/endpoint/v3/endpoint_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { RouteConfigurationSchema } from '#gen/envoy/config/route/v3/route_pb.js'
import { RouterSchema } from '#gen/envoy/extensions/filters/http/router/v3/router_pb.js'
import { HttpConnectionManagerSchema } from '#gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { SecretSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js'
import { DownstreamTlsContextSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.js'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { type ResourceSet, type TypeUrl, typeUrls, type XdsResource } from '#mesh/model/resource.ts'

const registry = createRegistry(DownstreamTlsContextSchema, HttpConnectionManagerSchema, RouterSchema)

function resource(type: TypeUrl, schema: DescMessage, name: string, json: JsonValue): XdsResource {
  const bytes = toBinary(schema, fromJson(schema, json, { registry }))
  return { type, name, bytes, version: sha256Hex(bytes).slice(0, 16), owner: `service shop/${name}` }
}

const ads = { ads: {}, resourceApiVersion: 'V3' }

/** An EDS cluster; another time-out makes another version. */
export const clusterOf = (name: string, seconds = '1s'): XdsResource =>
  resource(typeUrls.cluster, ClusterSchema, name, {
    name,
    type: 'EDS',
    connectTimeout: seconds,
    edsClusterConfig: { edsConfig: ads },
  })

/** A cluster that Envoy refuses: more than all of its endpoints may be ejected. */
export const badClusterOf = (name: string): XdsResource =>
  resource(typeUrls.cluster, ClusterSchema, name, {
    name,
    type: 'EDS',
    connectTimeout: '1s',
    edsClusterConfig: { edsConfig: ads },
    outlierDetection: { maxEjectionPercent: 101 },
  })

/** A cluster that Envoy refuses too late: beside a new cluster it is left warming, and no answer comes. */
export const halfMadeClusterOf = (name: string): XdsResource =>
  resource(typeUrls.cluster, ClusterSchema, name, {
    name,
    type: 'EDS',
    connectTimeout: '1s',
    lbPolicy: 'RING_HASH',
    ringHashLbConfig: { minimumRingSize: '2000', maximumRingSize: '1000' },
    edsClusterConfig: { edsConfig: ads },
  })

export const endpointsOf = (name: string, ports: readonly number[]): XdsResource =>
  resource(typeUrls.endpoint, ClusterLoadAssignmentSchema, name, {
    clusterName: name,
    endpoints: [
      {
        lbEndpoints: ports.map((portValue) => ({
          endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue } } },
        })),
      },
    ],
  })

/** Endpoints as a gRPC client wants them: with a locality and its weight. */
export const weightedEndpointsOf = (name: string, portValue: number): XdsResource =>
  resource(typeUrls.endpoint, ClusterLoadAssignmentSchema, name, {
    clusterName: name,
    endpoints: [
      {
        locality: { region: 'r1' },
        loadBalancingWeight: 1,
        lbEndpoints: [{ endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue } } } }],
      },
    ],
  })

const httpBy = (name: string, route: string): JsonValue => ({
  '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  statPrefix: name,
  rds: { configSource: ads, routeConfigName: route },
  httpFilters: [
    {
      name: 'envoy.filters.http.router',
      typedConfig: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
    },
  ],
})

export const listenerOf = (name: string, port: number, route: string): XdsResource =>
  resource(typeUrls.listener, ListenerSchema, name, {
    name,
    address: { socketAddress: { address: '127.0.0.1', portValue: port } },
    filterChains: [
      { filters: [{ name: 'envoy.filters.network.http_connection_manager', typedConfig: httpBy(name, route) }] },
    ],
  })

/** A listener with TLS that learns from the secret `trust` whose certificates it takes. */
export const tlsListenerOf = (
  name: string,
  route: string,
  tls: { readonly trust: string; readonly chainPem: string; readonly keyPem: string },
): XdsResource =>
  resource(typeUrls.listener, ListenerSchema, name, {
    name,
    address: { socketAddress: { address: '127.0.0.1', portValue: 0 } },
    filterChains: [
      {
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typedConfig: httpBy(name, route) }],
        transportSocket: {
          name: 'envoy.transport_sockets.tls',
          typedConfig: {
            '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
            requireClientCertificate: true,
            commonTlsContext: {
              validationContextSdsSecretConfig: {
                name: tls.trust,
                sdsConfig: { ...ads, initialFetchTimeout: '0s' },
              },
              tlsCertificates: [
                { certificateChain: { inlineString: tls.chainPem }, privateKey: { inlineString: tls.keyPem } },
              ],
            },
          },
        },
      },
    ],
  })

/** A secret that trusts these roots (PEM). */
export const trustOf = (name: string, roots: string): XdsResource =>
  resource(typeUrls.secret, SecretSchema, name, {
    name,
    validationContext: { trustedCa: { inlineString: roots } },
  })

/** A listener as a gRPC client wants it. */
export const apiListenerOf = (name: string, route: string): XdsResource =>
  resource(typeUrls.listener, ListenerSchema, name, { name, apiListener: { apiListener: httpBy(name, route) } })

export const routeOf = (name: string, cluster: string): XdsResource =>
  resource(typeUrls.route, RouteConfigurationSchema, name, {
    name,
    virtualHosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster } }] }],
  })

export function setOf(...resources: readonly XdsResource[]): ResourceSet {
  const byType = Map.groupBy(resources, (r) => r.type)
  return Object.fromEntries([...byType].map(([type, list]) => [type, new Map(list.map((r) => [r.name, r]))]))
}
