import { fromBinary } from '@bufbuild/protobuf'
import { type Any, AnySchema, anyUnpack } from '@bufbuild/protobuf/wkt'
import { Cluster_DiscoveryType, ClusterSchema } from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { HttpConnectionManagerSchema } from '#gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import type { SdsSecretConfig } from '#gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js'
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.js'
import { typeUrls } from '#mesh/model/resource.ts'

/** What a cluster or listener makes its proxy ask for. */
export type References = {
  readonly endpoints: readonly string[]
  readonly routes: readonly string[]
  readonly secrets: readonly string[]
}

export const noReferences: References = { endpoints: [], routes: [], secrets: [] }

/** The references in a cluster or a listener, an encoded Any. */
export function referencesIn(type: string, bytes: Uint8Array): References {
  const { value } = fromBinary(AnySchema, bytes)
  if (type === typeUrls.cluster) {
    const cluster = fromBinary(ClusterSchema, value)
    const kind = cluster.clusterDiscoveryType
    const isEds = kind.case === 'type' && kind.value === Cluster_DiscoveryType.EDS
    const sockets = [cluster.transportSocket, ...cluster.transportSocketMatches.map((match) => match.transportSocket)]
    return {
      endpoints: isEds ? [cluster.edsClusterConfig?.serviceName || cluster.name] : [],
      routes: [],
      secrets: sockets.flatMap((socket) => secretsOf(socket?.configType)),
    }
  }
  const listener = fromBinary(ListenerSchema, value)
  const chains = [...listener.filterChains, ...(listener.defaultFilterChain ? [listener.defaultFilterChain] : [])]
  const routes = chains
    .flatMap((chain) => chain.filters)
    .flatMap(({ configType }) => {
      if (configType.case !== 'typedConfig') return []
      const from = anyUnpack(configType.value, HttpConnectionManagerSchema)?.routeSpecifier
      return from?.case === 'rds' ? [from.value.routeConfigName] : []
    })
  const secrets = chains.flatMap((chain) => secretsOf(chain.transportSocket?.configType))
  return { endpoints: [], routes, secrets }
}

type SocketConfig = { readonly case: 'typedConfig'; readonly value: Any } | { readonly case: undefined } | undefined

/** Secrets that a TLS context has from ADS. */
function secretsOf(config: SocketConfig): string[] {
  if (config?.case !== 'typedConfig') return []
  const context =
    anyUnpack(config.value, UpstreamTlsContextSchema) ?? anyUnpack(config.value, DownstreamTlsContextSchema)
  const validation = context?.commonTlsContext?.validationContextType
  const secret: SdsSecretConfig | undefined =
    validation?.case === 'validationContextSdsSecretConfig'
      ? validation.value
      : validation?.case === 'combinedValidationContext'
        ? validation.value.validationContextSdsSecretConfig
        : undefined
  return secret?.sdsConfig?.configSourceSpecifier.case === 'ads' ? [secret.name] : []
}
