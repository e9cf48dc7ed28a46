import type { ServiceExport } from '#mesh/model/export.ts'
import type { ClusterId, ClusterName, MeshName, NetworkName, ServiceKey, TrustDomain } from '#mesh/model/id.ts'
import type { SamenessGroup, TrafficPolicy } from '#mesh/model/traffic-policy.ts'

/** An item of a report that could not be used: its key, and why. */
export type SetAside = { readonly key: string; readonly reason: string }

/** A policy or group among a member's own objects that is not in force as it was written: the member is told. */
export type IdleObject = {
  /** `policy bookinfo/reviews` */
  readonly object: string
  readonly reasons: readonly string[]
  /** What counts in its place. */
  readonly instead: string
}

/** A member as the compiler sees it. */
export type Member = {
  readonly id: ClusterId
  readonly name: ClusterName
  readonly network: NetworkName
  readonly region: string
  readonly trustDomain: TrustDomain
  /** Of its trust domain; absent = the first. */
  readonly generation?: number
  /** Unix ms: its issuing CA of before is to be replaced. */
  readonly issuingBefore?: number
  /** Set where others issue for the same trust domain. */
  readonly shared?: true
  readonly exports: ReadonlyMap<ServiceKey, ServiceExport>
  /** Services this member refuses to import. */
  readonly refused: ReadonlySet<ServiceKey>
  /** What it reported and the centre does not understand: it is told. */
  readonly setAside?: readonly SetAside[]
  /** Its policies and groups that are not in force as they were written: it is told. */
  readonly idle?: readonly IdleObject[]
}

/** The operator's narrowing of an export: it can narrow, never widen. `cluster` absent = every exporter's. */
export type ExportNarrowing = {
  readonly key: ServiceKey
  readonly cluster?: ClusterName
  readonly consumers: readonly string[]
}

/** One revocation: its number, and what its subject could call and be called by at that moment. */
export type Cut = {
  readonly cut: number
  /** `<cluster>/<namespace>/<service>`: exports that admitted it. */
  readonly exports: ReadonlySet<string>
  /** Who called it: `<cluster>:<namespace>/<service>`, and for what it offers by HTTP `<cluster>:<port>` as well. */
  readonly callers?: ReadonlySet<string>
}

/** One service's way out of one cluster: callers elsewhere give it `percent` of its nominal share there. */
export type ServiceDrain = {
  readonly key: ServiceKey
  readonly cluster: ClusterName
  readonly percent: number
  /** Its gateways end what is still open to it. */
  readonly closing?: true
}

/** Everything the centre knows that config is compiled from. No endpoint counts: those flow beside it. */
export type Fleet = {
  readonly mesh: MeshName
  readonly roots: readonly string[]
  readonly members: readonly Member[]
  readonly narrowings: readonly ExportNarrowing[]
  /** Trust domains of other meshes that an operator federated; absent = none. */
  readonly foreign?: readonly TrustDomain[]
  /** Revocations, and the exports whose open connections each of them ends. */
  readonly cuts?: readonly Cut[]
  readonly policies?: readonly TrafficPolicy[]
  readonly groups?: readonly SamenessGroup[]
  readonly serviceDrains?: readonly ServiceDrain[]
}
