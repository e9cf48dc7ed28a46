import { create } from '@bufbuild/protobuf'
import { DurationSchema } from '@bufbuild/protobuf/wkt'
import { type AccessLogSchema, ComparisonFilter_Op } from '#gen/envoy/config/accesslog/v3/accesslog_pb.js'
import { StdoutAccessLogSchema } from '#gen/envoy/extensions/access_loggers/stream/v3/stream_pb.js'
import { RBACSchema } from '#gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.js'
import { RouterSchema } from '#gen/envoy/extensions/filters/http/router/v3/router_pb.js'
import {
  HttpConnectionManager_ForwardClientCertDetails,
  HttpConnectionManagerSchema,
} from '#gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { TcpProxySchema } from '#gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.js'
import { duration, extension, type Fields, fromAds } from '#mesh/translate/encode.ts'

type Hcm = Fields<typeof HttpConnectionManagerSchema>
export type NetworkFilter = ReturnType<typeof extension>

const router = extension('envoy.filters.http.router', RouterSchema, {})

/** Refuses nothing by itself: the routes fill it, since a route update reaches open connections at once. */
const admission = extension('envoy.filters.http.rbac', RBACSchema, {})

/** Outbound HTTP: routes by name over ADS, WebSocket, and one line per request that failed at the mesh. */
export const outboundHttp = (facts: { readonly statPrefix: string; readonly routes: string }): NetworkFilter =>
  hcm({
    ...common(facts.statPrefix),
    routeSpecifier: { case: 'rds', value: { configSource: fromAds, routeConfigName: facts.routes } },
    httpFilters: [asHttpFilter(router)],
    accessLog: [failedRequests],
  })

/** Inbound HTTP: the caller's SPIFFE id reaches the application as `x-forwarded-client-cert`, never the caller's own claim. */
export const inboundHttp = (facts: {
  readonly statPrefix: string
  readonly routeSpecifier: NonNullable<Hcm['routeSpecifier']>
}): NetworkFilter =>
  hcm({
    ...common(facts.statPrefix),
    routeSpecifier: facts.routeSpecifier,
    http2ProtocolOptions: { allowConnect: true },
    forwardClientCertDetails: HttpConnectionManager_ForwardClientCertDetails.SANITIZE_SET,
    setCurrentClientCertDetails: { uri: true },
    httpFilters: [asHttpFilter(admission), asHttpFilter(router)],
  })

/**
 * Bytes to one Envoy cluster; a host that cannot be reached is replaced twice before the caller hears of it. With
 * `connectionMaxMs` a connection ends after that long, spread by a fifth: who was opened together would else come back
 * together, for ever.
 */
export function tcpTo(cluster: string, connectionMaxMs?: number): NetworkFilter {
  const message = create(TcpProxySchema, {
    statPrefix: cluster,
    clusterSpecifier: { case: 'cluster', value: cluster },
    maxConnectAttempts: 3,
  })
  if (connectionMaxMs !== undefined) {
    message.maxDownstreamConnectionDuration = create(DurationSchema, duration(connectionMaxMs))
    message.$unknown = [jitter]
  }
  return extension('envoy.filters.network.tcp_proxy', TcpProxySchema, message)
}

/** `max_downstream_connection_duration_jitter_percentage`, younger than our protobuf files: a Percent of 20. */
const jitter = { no: 20, wireType: 2, data: Uint8Array.of(9, 0x09, 0, 0, 0, 0, 0, 0, 0x34, 0x40) }

const common = (statPrefix: string): Hcm => ({
  statPrefix,
  normalizePath: true,
  useRemoteAddress: false,
  streamIdleTimeout: duration(0),
  upgradeConfigs: [{ upgradeType: 'websocket' }],
})

const hcm = (fields: Hcm): NetworkFilter =>
  extension('envoy.filters.network.http_connection_manager', HttpConnectionManagerSchema, fields)

const asHttpFilter = (filter: NetworkFilter) => ({ name: filter.name, configType: filter.configType })

const stdout = (format: Readonly<Record<string, string>>) =>
  extension('envoy.access_loggers.stdout', StdoutAccessLogSchema, {
    accessLogFormat: {
      case: 'logFormat',
      value: { format: { case: 'jsonFormat', value: { ...format } } },
    },
  })

/** Where a call failed and why TLS refused: the reason is in no header and no body. */
const failedRequests: Fields<typeof AccessLogSchema> = {
  ...stdout({
    cause: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
    cluster: '%UPSTREAM_CLUSTER_RAW%',
    details: '%RESPONSE_CODE_DETAILS%',
    flags: '%RESPONSE_FLAGS%',
    host: '%UPSTREAM_HOST%',
    method: '%REQ(:METHOD)%',
    status: '%RESPONSE_CODE%',
    time: '%START_TIME%',
  }),
  filter: {
    filterSpecifier: {
      case: 'statusCodeFilter',
      value: {
        comparison: { op: ComparisonFilter_Op.GE, value: { defaultValue: 500, runtimeKey: 'isthmus.log.status' } },
      },
    },
  },
}

/** One line per inbound connection: refused handshakes never reach an HTTP log, and the peer's id is known even then. */
export const connectionLog: Fields<typeof AccessLogSchema> = stdout({
  bytes: '%BYTES_RECEIVED%',
  cause: '%DOWNSTREAM_TRANSPORT_FAILURE_REASON%',
  local: '%DOWNSTREAM_LOCAL_ADDRESS%',
  name: '%FILTER_CHAIN_NAME%',
  peer: '%DOWNSTREAM_PEER_URI_SAN%',
  sni: '%REQUESTED_SERVER_NAME%',
  time: '%START_TIME%',
})
