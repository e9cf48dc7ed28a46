import type { ClusterName } from '#mesh/model/id.ts'

/**
 * Which services a policy is for; a part that is absent names all, but names are then of the policy's own namespace. The
 * most specific policy governs: names, then labels (more of them first), then a namespace, then the whole mesh.
 */
export type Selector = {
  readonly namespace?: string
  readonly names?: readonly string[]
  /** Of the Service, as its oldest export has them. */
  readonly labels?: Readonly<Record<string, string>>
}

/** What each of a target's clusters is able to take from all of its callers together. */
export type Capacity = { readonly requestsPerSecond?: number; readonly connections?: number }

/** One cluster, the exporters of a region, or those of a sameness group. */
export type TierTarget = (
  | { readonly cluster: ClusterName }
  | { readonly region: string }
  | { readonly group: string }
) & {
  /** 1..1000, divided equally among the clusters that the target stands for; absent = 1. */
  readonly weight?: number
  readonly capacity?: Capacity
}

/** Whom callers try first within a tier: `none` = weights as written, whoever calls. */
export type Preference = 'none' | 'own' | 'region'

export type PolicyTier = {
  readonly name?: string
  readonly targets: readonly TierTarget[]
  /** Absent: `own` where no target has a weight, `none` where weights are written: they are exact. */
  readonly prefer?: Preference
}

/**
 * What callers do about an exporter that the centre has not heard for three minutes: nothing, for silence alone is no
 * evidence; put it behind all others; or leave it as the last resort.
 */
export type OnExporterLost = 'keep' | 'demote' | 'drop'

export type ProbeKind = 'http' | 'grpc' | 'tcp'

/** How relays ask each exporter of a service, through its gateway, whether the service is well there. */
export type ServiceProbe = {
  /** `http`: GET is answered with 2xx or 3xx. `grpc`: grpc.health.v1 says SERVING. `tcp`: a connection stays open. */
  readonly kind: ProbeKind
  /** Of the service; absent = its first one that speaks so. */
  readonly port?: number
  /** Of `http`; absent = `/`. */
  readonly path?: string
  /** Absent = 3. */
  readonly everySeconds?: number
}

/** A field that is absent comes from the next less specific policy, and in the end from `defaultSettings`. */
export type TrafficPolicySpec = {
  readonly services: Selector
  /** Tried in this order; absent = the own cluster, its region, the rest. */
  readonly tiers?: readonly PolicyTier[]
  /** Exporters that no tier names; absent = never. */
  readonly unlisted?: 'never' | 'last'
  /** 1..100: the healthy part down to which a tier keeps everything; absent = 71. */
  readonly keepUntilPercent?: number
  readonly retries?: { readonly attempts?: number; readonly idempotent?: boolean; readonly perTrySeconds?: number }
  readonly timeouts?: { readonly connectSeconds?: number; readonly requestSeconds?: number }
  readonly ejection?: { readonly afterFailures?: number; readonly baseSeconds?: number; readonly maxSeconds?: number }
  /** Absent = none: gateways and the readiness of pods say how exporters are. */
  readonly probe?: ServiceProbe
  /** Absent = keep. */
  readonly onExporterLost?: OnExporterLost
  /** How long a cluster that returns is held back (60), and over how long its share then rises (300). */
  readonly failback?: { readonly holdSeconds?: number; readonly rampSeconds?: number }
  /** After which age a connection is closed and made anew, at the next pause between requests where it has any. */
  readonly connections?: { readonly maxSeconds?: number }
}

/** An operator's policy for calls between clusters. Kind `GlobalTrafficPolicy` of `isthmus.dev/v1alpha1`. */
export type TrafficPolicy = {
  readonly namespace: string
  readonly name: string
  readonly revision: number
  /** Where it was written: at the centre, or among the objects of a member, whose own callers alone it governs then. */
  readonly origin: 'api' | ClusterName
  /**
   * Of a member whose word counts for all callers (a policy source): Unix ms since when this one does. The operator's own
   * count so in any case.
   */
  readonly meshWide?: number
  readonly spec: TrafficPolicySpec
}

/** Clusters that a policy and a list of consumers may name together. Kind `SamenessGroup` of `isthmus.dev/v1alpha1`. */
export type SamenessGroup = {
  readonly name: string
  readonly clusters: readonly ClusterName[]
  readonly revision: number
  /** The policy source among whose objects it was written, and since when it is; absent = at the centre. */
  readonly from?: { readonly cluster: ClusterName; readonly since: number }
}

/** How messages name a policy: `bookinfo/reviews`, and where a member wrote it `virginia-1/bookinfo/reviews`. */
export const policyName = ({ origin, namespace, name }: Pick<TrafficPolicy, 'origin' | 'namespace' | 'name'>): string =>
  `${origin === 'api' ? '' : `${origin}/`}${namespace}/${name}`
