import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Shift } from '#mesh/model/traffic.ts'

/** What was counted of calls in one window. Of what has no requests: `issued` = connections begun. */
export type Counts = {
  /** Begun in the window. */
  readonly issued: number
  /** Ended in the window, well and badly: what began before it counts here, and what goes on does not. */
  readonly ok: number
  readonly errors: number
  /** In progress at its end: requests, or open connections of streams. */
  readonly active: number
}

/** Calls of one cluster's proxies to one service in one cluster. */
export type CallLoad = Counts & { readonly service: ServiceKey; readonly callee: ClusterName }

/** What passes one own gateway for one exported service: connections. */
export type GatewayLoad = {
  /** Its `addressKey`. */
  readonly address: string
  readonly service: ServiceKey
  readonly issued: number
  readonly active: number
}

export type Latency = {
  readonly service: ServiceKey
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly count: number
}

/** The share that each cluster is meant to have of a service's calls; together 1. `wanted`: without its quota, if it has one. */
export type IntendedShares = {
  readonly service: ServiceKey
  readonly intended: readonly { readonly cluster: ClusterName; readonly share: number; readonly wanted?: number }[]
}

/** How many proxies say what they send where, and how many do not. */
export type Measured = { readonly measured: number; readonly notMeasured: number }

/** What was counted in one window. */
export type Counted = {
  readonly windowMs: number
  readonly rows: readonly CallLoad[]
  /** Rows that had no room, summed. */
  readonly rest?: Counts
  readonly gateways: readonly GatewayLoad[]
}

/**
 * A window in which every proxy that is measured has reported. A proxy that does not report is not measured, which is not
 * the same as idle: where `proxies.measured` is 0 no row says anything.
 */
export type LoadWindow = Counted & {
  /** When the centre took it, Unix ms by its clock: rising from one window of a cluster to the next. */
  readonly takenAt: number
  /** Of the relay's process. */
  readonly epoch: string
  /** At its end. */
  readonly proxies: Measured
  readonly routers?: Measured
}

/** What was told longer ago says nothing of now. */
export const loadFreshMs = 60_000

/** The last window of a cluster, where it says anything of now: it is not old, and somebody was measured. */
export const measuredWindow = ({ window }: Load, now: number): LoadWindow | undefined =>
  window && window.proxies.measured > 0 && now - window.takenAt <= loadFreshMs ? window : undefined

/** What one relay told last: what it measured of its callers, and by what it led them. */
export type Load = {
  /** Of the relay's process. */
  readonly epoch: string
  /** Rising within the epoch. */
  readonly seq: number
  /** Unix ms, by the relay's clock. */
  readonly at: number
  /** The position in `adv/<mesh>` that is in force at this relay; null = never heard. */
  readonly adv: { readonly epoch: string; readonly rev: number } | null
  /** The config in force at this relay, and its hash as in the history of configs; null = never heard. */
  readonly cfg: { readonly epoch: string; readonly rev: number; readonly hash: string } | null
  /** Now; those of a window stand beside its counts. */
  readonly proxies: Measured
  /** The same of its gateways' proxies; absent from an older relay. */
  readonly routers?: Measured
  /** The last one that it told, with this report or before; absent = nothing is measured yet. */
  readonly window?: LoadWindow
  readonly latencies: readonly Latency[]
  /** Of services that were called, or that do not stand as they were compiled. */
  readonly shares: readonly IntendedShares[]
  /** Services that are served below their first tier. */
  readonly below: readonly ServiceKey[]
  /** How other clusters stand here; who is not named is in. */
  readonly health: readonly { readonly cluster: ClusterName; readonly phase: string; readonly percent: number }[]
  /** Clusters of which a gateway answered this relay's probe just now; absent = none, or an older relay. */
  readonly reached?: readonly ClusterName[]
}

/**
 * What a relay sends: what it measured, and what else the centre is to hear of its callers' traffic. `windowMs` 0 = no
 * window is over, and the one that was told before stands.
 */
export type LoadReport = Omit<Load, 'window'> &
  Counted & {
    /** Configs that all of its proxies acknowledged, by hash, and when (Unix ms). */
    readonly acked: readonly { readonly hash: string; readonly at: number }[]
    /** `seq` of a shift counts within this epoch, which outlives the relay's process. Oldest first. */
    readonly shifts?: { readonly epoch: string; readonly list: readonly Shift[] }
  }

/** A member of a tier with a capacity, and how much of it this caller may ask for. */
export type Quota = {
  readonly service: ServiceKey
  readonly cluster: ClusterName
  readonly requestsPerSecond?: number
  readonly connections?: number
}

/** No proxy makes more calls in a second; what says so is wrong. */
export const callsPerSecondMax = 10_000_000
