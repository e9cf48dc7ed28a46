import type { ClusterName, MeshName, NetworkName, ServiceKey, TrustDomain } from '#mesh/model/id.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import type { Capacity, OnExporterLost, ProbeKind } from '#mesh/model/traffic-policy.ts'

/** One cluster that offers an imported service, as seen from the cluster this config is for. */
export type Source = {
  readonly cluster: ClusterName
  readonly network: NetworkName
  readonly region: string
  readonly trustDomain: TrustDomain
  /** The exact SPIFFE ids that may answer for the service there, sorted. */
  readonly identities: readonly string[]
  /** Service ports that this cluster offers. */
  readonly ports: readonly number[]
  /** Unix ms: how old its export is by the centre's clock; absent from a centre that does not say so. */
  readonly since?: number
  /** Set where it may be chosen by a name of its own. */
  readonly perCluster?: true
}

/** One tier: tried together, by weight. An Envoy priority, in order. */
export type Tier = { readonly members: readonly TierMember[] }

/** `capacity`: what the cluster is able to take from all callers together; of a policy only. */
export type TierMember = { readonly cluster: ClusterName; readonly weight: number; readonly capacity?: Capacity }

/** Compiled per service; every field is always emitted. */
export type TrafficSettings = {
  /** Percent; how much health a tier may lose before it spills (Envoy's overprovisioning factor). */
  readonly overprovisioningFactor: number
  /** Consecutive local-origin failures before an address is ejected. */
  readonly ejectAfterFailures: number
  readonly retries: number
  readonly connectTimeoutMs: number
}

/** How a relay asks the exporters of a service whether it is well there; `path` of `http` alone. */
export type CompiledProbe = {
  readonly kind: ProbeKind
  readonly port: number
  readonly path?: string
  readonly everyMs: number
}

/** What a policy says beyond tiers and settings; absent fields are as without a policy. */
export type CompiledPolicy = {
  /** `<ns>/<name>@<revision>` of the one that governs. */
  readonly name: string
  readonly holdSeconds: number
  readonly rampSeconds: number
  readonly onExporterLost: OnExporterLost
  /** Every request may be sent again, whatever its method. */
  readonly idempotent?: true
  readonly perTryMs?: number
  readonly requestMs?: number
  readonly baseEjectionMs?: number
  readonly maxEjectionMs?: number
  readonly connectionMaxMs?: number
  readonly probe?: CompiledProbe
  /** A tier that loses pods it had gives away what they carried. */
  readonly spillByReadiness: true
  /** For each of the tiers the tier of the policy (0-based): `prefer` splits one into several. */
  readonly tierOf: readonly number[]
}

/** A service that the cluster may call in other clusters (and in its own, where that exports it). */
export type ImportedService = {
  readonly key: ServiceKey
  /** `<svc>.<ns>.svc.cluster.local`: names Envoy cluster, SNI and gateway chain. */
  readonly host: string
  readonly ports: readonly ServicePort[]
  /** Sorted by cluster. */
  readonly sources: readonly Source[]
  readonly tiers: readonly Tier[]
  readonly settings: TrafficSettings
  /** Absent where no policy governs it. */
  readonly policy?: CompiledPolicy
  /** Sources that this service leaves, with the percent of their nominal share that they still get. */
  readonly drains?: readonly SourceDrain[]
  /** The latest revocation that ends what callers here have open to it; absent = none ever. */
  readonly cut?: number
  /** The oldest export is of a headless Service: its pods are called one by one. */
  readonly headless?: true
  /** The oldest export asks that a client stays with one pod. */
  readonly sticky?: true
}

export type SourceDrain = { readonly cluster: ClusterName; readonly percent: number }

/** A service that the cluster's gateway answers for, and to whom. */
export type ExportedService = {
  readonly key: ServiceKey
  readonly host: string
  readonly ports: readonly ServicePort[]
  /** Other members that may call it, sorted. */
  readonly consumers: readonly ClusterName[]
  /** Their trust domains, sorted: admitted at the service's own pods beside the cluster's own domain. */
  readonly admitted: readonly TrustDomain[]
  /** Trust domains of other meshes whose workloads may call it as well, sorted; absent = none. */
  readonly foreign?: readonly TrustDomain[]
  /** The latest revocation that ends connections which are open on it; absent = none ever. */
  readonly cut?: number
  /** It was led out of traffic: the gateways end what callers still have open to it, and take nothing new. */
  readonly closing?: true
}

/** Why something the users asked for is not so: shown in status, on the object it is about. */
export type Condition = {
  readonly type: string
  readonly reason: string
  readonly message: string
  /** What it is about: `service bookinfo/reviews`. */
  readonly object: string
}

/** Facts of the mesh that all of a cluster's proxies need. */
export type TrustFacts = {
  readonly trustDomain: TrustDomain
  /** PEM of every root to accept, sorted. */
  readonly roots: readonly string[]
  /** All members' trust domains by cluster: the relays of these may probe the gateway. */
  readonly members: readonly { readonly cluster: ClusterName; readonly trustDomain: TrustDomain }[]
  /** Unix ms: an issuing CA of before is renewed with a new key. */
  readonly issuingBefore?: number
  /** Of the cluster's trust domain. */
  readonly generation?: number
  /** Set where other clusters issue for the same trust domain: nothing confines this one's CA. */
  readonly shared?: true
  /** By port, sorted: the latest revocation that ends what callers here have open to HTTP services of that port. */
  readonly cuts?: readonly PortCut[]
}

export type PortCut = { readonly port: number; readonly cut: number }

/**
 * The translated config of one member cluster: low churn, compiled by the centre, pushed, kept and compared. It names
 * nothing that is not exported to the cluster. Kept and delivered as entries (`entriesOf`), so that a change to one
 * service travels as one item.
 */
export type ClusterConfig = {
  readonly mesh: MeshName
  readonly cluster: ClusterName
  readonly network: NetworkName
  readonly region: string
  /** Set where another member shares the network: only then do pod addresses leave the cluster. */
  readonly networkShared?: true
  readonly trust: TrustFacts
  readonly imports: ReadonlyMap<ServiceKey, ImportedService>
  readonly exports: ReadonlyMap<ServiceKey, ExportedService>
  readonly conditions: readonly Condition[]
}
