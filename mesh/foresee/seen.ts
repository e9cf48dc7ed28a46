import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Answers } from '#mesh/model/explanation.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Pod } from '#mesh/model/pod.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import type { Freeze, ServiceEvidence } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import type { Phase, ProbeEvidence } from '#mesh/policy/judge-health.ts'

/** What one who explains knows. What is absent is unknown to him. */
export type Seen = {
  readonly view: View
  /** Unix ms. */
  readonly now: number
  /** Of the config in the view. */
  readonly revision?: number
  /** Other clusters' gateways as they name them, where the view has them resolved. */
  readonly said?: Summaries['gateways']
  readonly frozen?: Freeze
  /** The centre's: all that is offered, and to whom. */
  readonly fleet?: Fleet
  /** Unix ms: when the issuing CA of a cluster ends. */
  readonly issuingEnds?: ReadonlyMap<ClusterName, number>
  /** A relay's. */
  readonly relay?: RelaySeen
  readonly answers?: Answers
}

/** What only the caller's own relay knows. */
export type RelaySeen = {
  readonly isolated: boolean
  readonly clusters: ReadonlyMap<ClusterName, JudgedCluster>
  /** Services of which their probes say more than that all is well. */
  readonly services: readonly JudgedProbe[]
  /** Gateways that answer as somebody else. */
  readonly wrong: readonly { readonly cluster: ClusterName; readonly address: string; readonly detail: string }[]
  /** What its status says. */
  readonly conditions: readonly Condition[]
  /** Handshakes that were refused to the calls of this cluster's proxies; `envoyCluster` is what was called. */
  readonly refusals: readonly SeenRefusal[]
  /** Why the newest config of the centre is not in force. */
  readonly configFault?: string
  /** Undefined where there is no such pod. */
  readonly pod: Pod | undefined
  /** Undefined where it is not connected. */
  readonly proxy: ConnectedProxy | undefined
}

/** How a cluster is judged: `keptBecause` = dead, and in all the same. */
export type JudgedCluster = {
  readonly phase: Phase
  readonly evidence?: ProbeEvidence
  readonly backInSeconds: number | null
  readonly keptBecause?: 'frozen' | 'capped'
}

/** How a probe judges one service in one cluster: `keptBecause` = it fails, and callers stay all the same. */
export type JudgedProbe = {
  readonly service: ServiceKey
  readonly cluster: ClusterName
  readonly evidence: ServiceEvidence | null
  readonly backInSeconds: number | null
  readonly keptBecause: 'frozen' | 'capped' | 'all' | null
}

export type SeenRefusal = {
  readonly pod: string
  readonly envoyCluster: string
  readonly peer: string
  /** Unix ms. */
  readonly at: number
  readonly cause: string
  readonly reason: string
}

/** The caller's proxy, and what it has acknowledged, by short type name. */
export type ConnectedProxy = {
  readonly proxy: MeshProxy
  readonly types: Readonly<Record<string, HeldType>>
}

export type HeldType = {
  readonly state: 'SYNCED' | 'STALE' | 'NACK'
  readonly setAside: readonly { readonly name: string; readonly owner?: string }[]
  readonly nack?: { readonly detail: string }
  /** For so long something is due or not acknowledged. */
  readonly behindMs?: number
}
