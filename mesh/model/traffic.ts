import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'

/** How much of its nominal share a cluster is given now, and why it is less than all. */
export type Admitted = {
  readonly cluster: ClusterName
  /** 0..100 of its nominal share. */
  readonly percent: number
  readonly why: 'dead' | 'returning' | 'drain' | 'probe' | 'lost' | 'quota'
  /** 0..1: the most of this cluster's calls that it may be given. */
  readonly cap?: number
}

/**
 * What a relay knows about its callers' traffic beside config and summaries. Parts that did not change keep their
 * identity. Gateways are named by `addressKey`.
 */
export type Traffic = {
  readonly gatewaysDown: ReadonlyMap<ClusterName, ReadonlySet<string>>
  readonly gatewaysDraining: ReadonlyMap<ClusterName, ReadonlySet<string>>
  readonly clusters: ReadonlyMap<ClusterName, Admitted>
  /** Where there is one it stands in place of the cluster's. */
  readonly services: ReadonlyMap<ServiceKey, ReadonlyMap<ClusterName, Admitted>>
  /** The most pods that were ready in the last minutes, by `<cluster> <ns>/<svc> <port>`. */
  readonly peaks: ReadonlyMap<string, number>
  /** Own exports whose gateway chains are withdrawn. */
  readonly closing: 'all' | ReadonlySet<ServiceKey>
  /** Own gateways that withdraw all of theirs, as SHA-256 of their `addressKey`; absent = none. */
  readonly gatewaysClosing?: ReadonlySet<string>
}

/** The key of `Traffic.peaks`. */
export const peakKey = (cluster: ClusterName, key: ServiceKey, port: number): string => `${cluster} ${key} ${port}`

/** A drain as all relays hear of it. */
export type DrainAdvice = {
  readonly id: string
  readonly kind: 'cluster' | 'gateway'
  readonly cluster: ClusterName
  /** SHA-256 of its `addressKey`, hex: an address that is not exported to a cluster is not named there. */
  readonly gateway?: string
  readonly percent: number
  readonly phase: 'ramping' | 'closing' | 'proving' | 'done'
}

/** Nobody's health moves traffic while this stands. */
export type Freeze = { readonly by: string; readonly reason: string; readonly at: number }

/** The centre has not heard of an exporter since; Unix ms. Stale past `until`. */
export type LostExporter = { readonly cluster: ClusterName; readonly since: number; readonly until: number }

/** What the centre says to all relays beside config. */
export type Advice = {
  readonly drains: readonly DrainAdvice[]
  readonly frozen?: Freeze
  readonly lost: readonly LostExporter[]
}

export const noAdvice: Advice = { drains: [], lost: [] }

/**
 * What a probe came to. `trust`: a gateway answered, and not as one. Of services alone: `answer`, which says that the
 * service is not well, and `unsure`, of which nothing follows (a policy there does not let relays ask).
 */
export const probeResults = ['ok', 'refused', 'timeout', 'reset', 'trust', 'answer', 'unsure'] as const
export type ProbeResult = (typeof probeResults)[number]

/** How many of the last probes of one service in one cluster failed, and for how long. */
export type ServiceEvidence = {
  readonly probe: string
  readonly said: string
  readonly failed: number
  readonly of: number
  readonly forMs: number
}

/** What a relay saw when it moved its callers away from a cluster or back. */
export type Evidence = {
  readonly probe?: { readonly failed: number; readonly of: number; readonly last: ProbeResult; readonly forMs: number }
  /** One service of that cluster: `probe` and what it `said`, as `GET /healthz` and `503`. */
  readonly service?: ServiceEvidence
  readonly ready?: { readonly ready: number; readonly total: number }
  readonly ejected?: number
  readonly advice?: 'drain' | 'lost' | 'freeze'
}

/** One move of one cluster's callers, told to the centre once by (epoch, seq). */
export type Shift = {
  readonly seq: number
  /** Unix ms. */
  readonly at: number
  readonly kind: 'shift' | 'return' | 'ramp-done' | 'frozen-shift'
  readonly cluster: ClusterName
  /** At most `shiftServicesMax` of `servicesCount`, in order. */
  readonly services: readonly ServiceKey[]
  readonly servicesCount: number
  readonly from: readonly ClusterName[]
  readonly to: readonly ClusterName[]
  readonly evidence: Evidence
  /** Calls that failed since the first bad probe; null = not measured. */
  readonly failedMeanwhile: number | null
}

export const shiftServicesMax = 50
