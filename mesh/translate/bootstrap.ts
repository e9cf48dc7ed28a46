import { isIP } from 'node:net'
import type { Json } from '#mesh/model/canonical.ts'
import { latencyBoundsMs } from '#mesh/model/latency.ts'
import type { PlainAddresses } from '#mesh/model/proxy.ts'
import { version } from '#mesh/model/version.ts'

/** What `isthmus proxy` tells the bootstrap about one Envoy; every text is already checked. */
export type BootstrapFacts = {
  readonly type: 'sidecar' | 'router'
  readonly pod: string
  readonly namespace: string
  readonly serviceAccount: string
  readonly workload?: string
  readonly instanceIps: readonly [string, ...string[]]
  readonly cluster: string
  readonly network: string
  readonly mesh: string
  readonly region?: string
  readonly zone?: string
  readonly labels: Readonly<Record<string, string>>
  readonly interception: 'NONE' | 'REDIRECT'
  /** Where traffic goes when nothing is intercepted: sent to the relay as metadata `ISTHMUS`. */
  readonly plain?: PlainAddresses
  /** Where an east-west gateway listens, if the relay is not to choose: also in `ISTHMUS`. */
  readonly gateway?: { readonly host: string; readonly port: number }
  readonly relay: { readonly host: string; readonly port: number; readonly uri: string }
  readonly secretsSocket: string
  readonly admin: AdminAddress
  readonly connectionsMax: number
  readonly concurrency: number
}

export type AdminAddress = { readonly socket: string } | { readonly host: string; readonly port: number }

/** The secret of `sds-grpc` that says whom Envoy believes as its relay: control-plane CAs and the relay's exact URI. */
export const controlPlaneName = 'CONTROLPLANE'

const type = (name: string) => `type.googleapis.com/envoy.${name}`

/**
 * Envoy's bootstrap as JSON: who this proxy is, how it reaches its relay and its certificate, and nothing else; all
 * listeners and clusters of the user come by ADS.
 *
 * Clusters `xds-grpc` (the relay, mTLS with secret `default`) and `sds-grpc` (the program beside Envoy) carry the names of
 * Istio's agent, so translation is blind to who sits there. Whom to believe as the relay is a secret too (`controlPlane`):
 * a bootstrap lives as long as Envoy, and a control-plane CA or the relay's name may be replaced meanwhile. No session ticket keys: an
 * expired certificate would be resumed. Equal facts give equal JSON. Never throws.
 * Source: Envoy v3 bootstrap; the names are those of Istio's bootstrap template.
 */
export function buildBootstrap(facts: BootstrapFacts): { readonly [key: string]: Json } {
  return {
    node: nodeOf(facts),
    admin: { address: adminAddress(facts.admin), ignore_global_conn_limit: true },
    layered_runtime: {
      layers: [
        { name: 'bounds', static_layer: { re2: { max_program_size: { error_level: 32768, warn_level: 1024 } } } },
        { name: 'admin', admin_layer: {} },
      ],
    },
    overload_manager: {
      resource_monitors: [
        {
          name: 'envoy.resource_monitors.global_downstream_max_connections',
          typed_config: {
            '@type': type('extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig'),
            max_active_downstream_connections: facts.connectionsMax,
          },
        },
      ],
    },
    stats_config: {
      ...{ use_all_default_tags: false, stats_tags: statsTags },
      histogram_bucket_settings: [{ match: { suffix: '.upstream_rq_time' }, buckets: [...latencyBoundsMs] }],
    },
    deferred_stat_options: { enable_deferred_creation_stats: true },
    dynamic_resources: {
      ads_config: adsConfig(facts.cluster),
      cds_config: fromAds,
      lds_config: fromAds,
    },
    cluster_manager: {
      load_stats_config: {
        api_type: 'GRPC',
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: 'xds-grpc' } }],
      },
    },
    static_resources: { clusters: [relayCluster(facts), secretsCluster(facts.secretsSocket)] },
  }
}

/** The node id that istiod's clients send: `<type>~<ip>~<pod>.<namespace>~<namespace>.svc.cluster.local`. */
export const nodeIdOf = (facts: Pick<BootstrapFacts, 'type' | 'instanceIps' | 'pod' | 'namespace'>): string =>
  `${facts.type}~${facts.instanceIps[0]}~${facts.pod}.${facts.namespace}~${facts.namespace}.svc.cluster.local`

function nodeOf(facts: BootstrapFacts): Json {
  return {
    id: nodeIdOf(facts),
    cluster: `${facts.labels['app'] ?? facts.workload ?? facts.pod}.${facts.namespace}`,
    locality: { region: facts.region, zone: facts.zone },
    metadata: metadataOf(facts),
  }
}

/** Metadata in the types that istiod expects: booleans are quoted, INSTANCE_IPS is one comma list. */
function metadataOf(facts: BootstrapFacts): Json {
  return {
    CLUSTER_ID: facts.cluster,
    NETWORK: facts.network,
    MESH_ID: facts.mesh,
    NAME: facts.pod,
    NAMESPACE: facts.namespace,
    SERVICE_ACCOUNT: facts.serviceAccount,
    WORKLOAD_NAME: facts.workload ?? facts.labels['app'] ?? facts.pod,
    INSTANCE_IPS: facts.instanceIps.join(','),
    INTERCEPTION_MODE: facts.interception,
    LABELS: facts.labels,
    METADATA_DISCOVERY: 'false',
    PILOT_SAN: [facts.relay.uri],
    PROXY_CONFIG: { discoveryAddress: addressText(facts.relay), concurrency: facts.concurrency },
    REQUESTED_NETWORK_VIEW: facts.type === 'router' ? facts.network : undefined,
    ISTHMUS: {
      version,
      ...facts.plain,
      gateway: facts.gateway && { address: facts.gateway.host, port: facts.gateway.port },
    },
  }
}

const addressText = ({ host, port }: { readonly host: string; readonly port: number }) =>
  isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`

const fromAds: Json = { ads: {}, resource_api_version: 'V3', initial_fetch_timeout: '0s' }

/** Redials soon and for ever: a relay that restarts is back in a second, and 5 s is the most a proxy stays away. */
function adsConfig(cluster: string): Json {
  return {
    api_type: 'DELTA_GRPC',
    transport_api_version: 'V3',
    set_node_on_first_message_only: true,
    grpc_services: [
      {
        envoy_grpc: {
          cluster_name: 'xds-grpc',
          retry_policy: { retry_back_off: { base_interval: '0.1s', max_interval: '5s' } },
        },
        initial_metadata: [{ key: 'clusterid', value: cluster }],
      },
    ],
  }
}

function relayCluster({ relay }: BootstrapFacts): Json {
  const numeric = isIP(relay.host) !== 0
  return {
    name: 'xds-grpc',
    ...(numeric
      ? { type: 'STATIC' }
      : { type: 'STRICT_DNS', respect_dns_ttl: true, dns_lookup_family: 'V4_PREFERRED', dns_refresh_rate: '5s' }),
    connect_timeout: '3s',
    ...grpcUpstream({ connection_keepalive: { interval: '15s', timeout: '5s' } }),
    upstream_connection_options: { tcp_keepalive: { keepalive_time: 30, keepalive_interval: 5, keepalive_probes: 3 } },
    load_assignment: oneEndpoint('xds-grpc', { socket_address: { address: relay.host, port_value: relay.port } }),
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
        ...(numeric ? {} : { sni: relay.host }),
        max_session_keys: 0,
        common_tls_context: {
          alpn_protocols: ['h2'],
          tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
          tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: fromSecrets }],
          validation_context_sds_secret_config: { name: controlPlaneName, sds_config: fromSecrets },
        },
      },
    },
  }
}

const fromSecrets: Json = {
  resource_api_version: 'V3',
  initial_fetch_timeout: '0s',
  api_config_source: {
    api_type: 'GRPC',
    transport_api_version: 'V3',
    set_node_on_first_message_only: true,
    grpc_services: [{ envoy_grpc: { cluster_name: 'sds-grpc' } }],
  },
}

const secretsCluster = (socket: string): Json => ({
  name: 'sds-grpc',
  type: 'STATIC',
  connect_timeout: '1s',
  ...grpcUpstream({}),
  load_assignment: oneEndpoint('sds-grpc', { pipe: { path: socket } }),
})

/** HTTP/2, and no cap on the streams: every distinct secret config is a stream of its own on `sds-grpc`. */
const grpcUpstream = (http2: { readonly [key: string]: Json }): { readonly [key: string]: Json } => ({
  circuit_breakers: {
    thresholds: ['DEFAULT', 'HIGH'].map((priority) => ({
      priority,
      max_connections: 100_000,
      max_pending_requests: 100_000,
      max_requests: 100_000,
    })),
  },
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: { http2_protocol_options: http2 },
    },
  },
})

const oneEndpoint = (name: string, address: Json): Json => ({
  cluster_name: name,
  endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }],
})

const adminAddress = (admin: AdminAddress): Json =>
  'socket' in admin
    ? { pipe: { path: admin.socket, mode: 0o600 } }
    : { socket_address: { address: admin.host, port_value: admin.port } }

/** The few tags that dashboards group by; every further one costs a regular expression per stat. */
const statsTags: Json = [
  { tag_name: 'cluster_name', regex: '^cluster\\.((.+?(\\..+?\\.svc\\.cluster\\.local)?)\\.)' },
  { tag_name: 'listener_address', regex: '^listener\\.(((?:[_.[:digit:]]*|[_\\[\\]aAbBcCdDeEfF[:digit:]]*))\\.)' },
  {
    tag_name: 'http_conn_manager_prefix',
    regex: '^http\\.(((?:[_.[:digit:]]*|[_\\[\\]aAbBcCdDeEfF[:digit:]]*|.+?))\\.)',
  },
  { tag_name: 'response_code_class', regex: '_rq(_(\\dxx))$' },
]
