import type { ClusterConfig, ImportedService } from '#mesh/model/cluster-config.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { hostOf } from '#mesh/model/host.ts'
import type { ClusterName, MeshName, NetworkName, ServiceKey, TrustDomain } from '#mesh/model/id.ts'
import { serviceKey } from '#mesh/model/id.ts'
import type { Service, ServicePort } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'

/** How large the bench's cluster is; printed with every figure. */
export type Scale = {
  readonly services: number
  readonly endpoints: number
  readonly large: number
  readonly remote: number
}

const port: ServicePort = { name: 'http', port: 8080, protocol: 'http', declared: true }
const home = 'a' as ClusterName
const network = 'a' as NetworkName
const domain = (cluster: string) => `${cluster}.mesh1` as TrustDomain

export const keyAt = (n: number): ServiceKey => serviceKey('shop', `svc-${n}`)

/**
 * A cluster with `services` services of `endpoints` pods each and one of `large`; every service is also offered by each
 * of `remote` other clusters.
 */
export function viewOf(scale: Scale, rootPem: string): View {
  const keys = Array.from({ length: scale.services }, (_, n) => keyAt(n))
  const remotes = Array.from({ length: scale.remote }, (_, n) => `r${n}` as ClusterName)
  return {
    home: { mesh: 'mesh1' as MeshName, cluster: home, network, region: 'r1', trustDomain: domain(home), gateways: [] },
    own: {
      services: new Map(keys.map((key) => [key, serviceAt(key)])),
      endpoints: new Map(keys.map((key, n) => [key, podsOf(n, n === 0 ? scale.large : scale.endpoints)])),
      pods: new Map(),
      exports: new Map(keys.map((key) => [key, { key, createdAt: 1, origin: 'bench' }])),
      refused: new Set(),
      peerAuthentications: [],
    },
    config: configOf(keys, remotes, rootPem),
    summaries: {
      services: new Map(
        remotes.map((cluster) => [
          cluster,
          new Map(
            keys.map((key) => [key, { counts: [{ port: 8080, region: 'r2', zone: 'z', ready: 10, total: 10 }] }]),
          ),
        ]),
      ),
      gateways: new Map(
        remotes.map((cluster, n) => [
          cluster,
          { gateways: [{ address: `10.200.${n}.1`, port: 15443, state: 'ready' as const }] },
        ]),
      ),
    },
  }
}

export const serviceAt = (key: ServiceKey): Service => ({
  key,
  ports: [port],
  clusterIps: ['10.96.0.1'],
  headless: false,
  origin: 'bench',
})

export const podsOf = (service: number, count: number): Endpoint[] =>
  Array.from({ length: count }, (_, n) => podAt(service, n))

export const podAt = (service: number, n: number): Endpoint => ({
  address: `10.${10 + (service >> 8)}.${service & 255}.${n & 255}`,
  ports: { http: 8080 + (n >> 8) },
  health: 'ready',
  locality: { region: 'r1', zone: 'z1' },
  network,
  pod: `shop/svc-${service}-${n}`,
  serviceAccount: `sa-${service}`,
  meshed: true,
})

function configOf(keys: readonly ServiceKey[], remotes: readonly ClusterName[], rootPem: string): ClusterConfig {
  return {
    mesh: 'mesh1' as MeshName,
    cluster: home,
    network,
    region: 'r1',
    trust: {
      trustDomain: domain(home),
      roots: [rootPem],
      members: [home, ...remotes].map((cluster) => ({ cluster, trustDomain: domain(cluster) })),
    },
    imports: new Map(keys.map((key, n) => [key, importAt(key, n, remotes)])),
    exports: new Map(
      keys.map((key) => [
        key,
        { key, host: hostOf(key), ports: [port], consumers: [...remotes], admitted: remotes.map(domain) },
      ]),
    ),
    conditions: [],
  }
}

function importAt(key: ServiceKey, n: number, remotes: readonly ClusterName[]): ImportedService {
  const source = (cluster: ClusterName) => ({
    cluster,
    network: cluster as string as NetworkName,
    region: cluster === home ? 'r1' : 'r2',
    trustDomain: domain(cluster),
    identities: [`spiffe://${domain(cluster)}/ns/shop/sa/sa-${n}`],
    ports: [8080],
  })
  return {
    key,
    host: hostOf(key),
    ports: [port],
    sources: [home, ...remotes].map(source),
    tiers: [
      { members: [{ cluster: home, weight: 1 }] },
      { members: remotes.map((cluster) => ({ cluster, weight: 1 })) },
    ],
    settings: { overprovisioningFactor: 140, ejectAfterFailures: 3, retries: 3, connectTimeoutMs: 1000 },
  }
}
