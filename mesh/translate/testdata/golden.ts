import { createRegistry, fromBinary, type Registry, toJson } from '@bufbuild/protobuf'
import { stringify } from 'yaml'
import { ClusterSchema } from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import { ClusterLoadAssignmentSchema } from '#gen/envoy/config/endpoint/v3/endpoint_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { RouteConfigurationSchema } from '#gen/envoy/config/route/v3/route_pb.js'
import { StdoutAccessLogSchema } from '#gen/envoy/extensions/access_loggers/stream/v3/stream_pb.js'
import { RBACPerRouteSchema, RBACSchema } from '#gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.js'
import { RouterSchema } from '#gen/envoy/extensions/filters/http/router/v3/router_pb.js'
import { HttpInspectorSchema } from '#gen/envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.js'
import { OriginalDstSchema } from '#gen/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.js'
import { TlsInspectorSchema } from '#gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.js'
import { HttpConnectionManagerSchema } from '#gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { RBACSchema as NetworkRBACSchema } from '#gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.js'
import { TcpProxySchema } from '#gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.js'
import { PreviousHostsPredicateSchema } from '#gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.js'
import { PreviousPrioritiesConfigSchema } from '#gen/envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config_pb.js'
import { RawBufferSchema } from '#gen/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.js'
import { SecretSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js'
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.js'
import { SPIFFECertValidatorConfigSchema } from '#gen/envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config_pb.js'
import { HttpProtocolOptionsSchema } from '#gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.js'
import { type ResourceSet, type TypeUrl, typeUrls, type XdsResource } from '#mesh/model/resource.ts'

/** Every type that may stand in an Any of ours. */
export const registry: Registry = createRegistry(
  StdoutAccessLogSchema,
  RBACPerRouteSchema,
  RBACSchema,
  NetworkRBACSchema,
  RouterSchema,
  HttpInspectorSchema,
  OriginalDstSchema,
  TlsInspectorSchema,
  HttpConnectionManagerSchema,
  TcpProxySchema,
  PreviousHostsPredicateSchema,
  PreviousPrioritiesConfigSchema,
  RawBufferSchema,
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
  SPIFFECertValidatorConfigSchema,
  HttpProtocolOptionsSchema,
)

const schemas = {
  [typeUrls.cluster]: ClusterSchema,
  [typeUrls.endpoint]: ClusterLoadAssignmentSchema,
  [typeUrls.listener]: ListenerSchema,
  [typeUrls.route]: RouteConfigurationSchema,
  [typeUrls.secret]: SecretSchema,
} as const

export type PlainJson = null | boolean | number | string | PlainJson[] | { [key: string]: PlainJson }

/** A resource as Envoy's documentation writes it: field names with underscores. */
export function jsonOf(resource: XdsResource): { [key: string]: PlainJson } {
  const message = fromBinary(schemas[resource.type], resource.bytes)
  return toJson(schemas[resource.type], message, { registry, useProtoFieldName: true }) as { [key: string]: PlainJson }
}

/** The resources of one type by name, in the order of names. */
export const resourcesOf = (set: ResourceSet, type: TypeUrl): readonly XdsResource[] => [...(set[type]?.values() ?? [])]

export const files = {
  listeners: typeUrls.listener,
  routes: typeUrls.route,
  clusters: typeUrls.cluster,
  endpoints: typeUrls.endpoint,
  secrets: typeUrls.secret,
} as const

/** The text of one golden file; undefined where there is nothing of that type. Roots are shortened: they are the same everywhere. */
export function goldenText(set: ResourceSet, type: TypeUrl): string | undefined {
  const resources = resourcesOf(set, type)
  if (resources.length === 0) return undefined
  const body = resources.map((r) => ({ ...(r.owner ? { '#owner': r.owner } : {}), ...jsonOf(r) }))
  return stringify(body, { lineWidth: 0, aliasDuplicateObjects: false }).replaceAll(
    /inline_string: \|\n((?:\s+-----BEGIN CERTIFICATE[\s\S]*?END CERTIFICATE-----\n)+)/g,
    (_, pems: string) => {
      const count = pems.split('BEGIN CERTIFICATE').length - 1
      return `inline_string: "<${count === 1 ? '' : `${count} `}roots>"\n`
    },
  )
}
