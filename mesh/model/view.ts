import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import type { ClusterName, MeshName, NetworkName, ServiceKey, TrustDomain } from '#mesh/model/id.ts'
import type { PeerAuthentication, Pod } from '#mesh/model/pod.ts'
import type { Service } from '#mesh/model/service.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import type { Traffic } from '#mesh/model/traffic.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'

/** A service the own cluster offers: its ServiceExport object. */
export type OwnExport = {
  readonly key: ServiceKey
  readonly consumers?: readonly string[]
  /** Set where callers may choose this cluster by `<cluster>.<svc>.<ns>.svc.clusterset.local`. */
  readonly perCluster?: true
  readonly createdAt: number
  readonly origin: string
}

/** Addresses of an imported service that mean nothing outside of this cluster: its ServiceImport object keeps them. */
export type ClusterSetAddresses = {
  /** Of the service as a whole; absent of a headless one. */
  readonly ip?: string
  /** Of one pod of a headless service by `<hostname>.<cluster>`, of one cluster's part by `<cluster>`. */
  readonly parts: Readonly<Record<string, string>>
}

/** A ServiceImport object and the addresses that it names. */
export type OwnImport = ClusterSetAddresses & { readonly key: ServiceKey; readonly createdAt: number }

/** A GlobalTrafficPolicy or SamenessGroup among the own cluster's objects: what it says, or why it cannot be read. */
export type OwnPolicyObject = (
  | { readonly kind: 'GlobalTrafficPolicy'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'SamenessGroup'; readonly name: string }
) &
  ({ readonly spec: Readonly<Record<string, unknown>> } | { readonly fault: string })

/** The own cluster's objects, as watched: one consistent value, replaced as a whole; unchanged parts keep their identity. */
export type OwnCluster = {
  readonly services: ReadonlyMap<ServiceKey, Service>
  readonly endpoints: ReadonlyMap<ServiceKey, readonly Endpoint[]>
  readonly pods: ReadonlyMap<string, Pod>
  readonly exports: ReadonlyMap<ServiceKey, OwnExport>
  /** ServiceImport objects that refuse (`isthmus.dev/accept: "false"`). */
  readonly refused: ReadonlySet<ServiceKey>
  /** ServiceImport objects that name addresses; absent = none. */
  readonly imports?: ReadonlyMap<ServiceKey, OwnImport>
  /** Services that stand for a name outside (ExternalName), which nobody can export; absent = none. */
  readonly externalNames?: ReadonlySet<ServiceKey>
  readonly peerAuthentications: readonly PeerAuthentication[]
  /** The east-west gateways that its Services name, sorted; absent = none. */
  readonly gateways?: readonly Pick<Gateway, 'address' | 'port'>[]
  /** Its own policies for calls and the groups that they name, in order; absent = none. */
  readonly trafficObjects?: readonly OwnPolicyObject[]
  /** How many of its files were never read clearly: what is missing may be in one. Absent = none. */
  readonly unreadFiles?: number
}

/** An object that could not be used, set aside while the rest goes on. */
export type RejectedObject = {
  /** File and line (`bookinfo/reviews.yaml:12`) or the object's URL. */
  readonly at: string
  readonly object: string
  readonly reason: string
}

/** Who this relay serves. */
export type Home = {
  readonly mesh: MeshName
  readonly cluster: ClusterName
  readonly network: NetworkName
  readonly region: string
  readonly trustDomain: TrustDomain
  /** The own east-west gateways, as others dial them. */
  readonly gateways: readonly Gateway[]
}

/**
 * Everything that a relay renders from. `config` is absent until the centre was heard once: then only the own cluster
 * is served. `summaries` may lag behind `config` and the other way round: a service without a summary is unknown, and
 * is dialled through its cluster's gateways rather than left out.
 */
export type View = {
  readonly home: Home
  readonly own: OwnCluster
  readonly config?: ClusterConfig
  /** PEM of the roots that the own issuing CA stands under: trusted until `config` names the roots. */
  readonly roots?: readonly string[]
  readonly summaries: Summaries
  /** Whom the mesh trusts, verified; absent from an older centre, and until the first was heard. */
  readonly bundle?: TrustBundle
  /** The addresses of imported services here, each of one service alone; absent = none. */
  readonly clusterSet?: ReadonlyMap<ServiceKey, ClusterSetAddresses>
  /** What moves traffic now; absent = nothing does. Parts keep their identity while they are equal. */
  readonly traffic?: Traffic
}
