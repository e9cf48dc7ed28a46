import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'

/** A condition as Kubernetes keeps it, without its time. */
export type ObjectCondition = {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

/** One that an object has; `since` is its `lastTransitionTime`. */
export type SeenCondition = ObjectCondition & { readonly since?: string }

export type ImportPort = { readonly name: string; readonly port: number; readonly appProtocol: string }

/** What the relay says in a ServiceImport. */
export type ImportSpec = {
  readonly type: 'ClusterSetIP' | 'Headless'
  readonly ports: readonly ImportPort[]
  /** Empty, or the cluster-set IP. */
  readonly ips: readonly string[]
  readonly sessionAffinity: 'None' | 'ClientIP'
  /** Of single pods and clusters, as `ClusterSetAddresses.parts`. */
  readonly parts: Readonly<Record<string, string>>
}

export type ImportStatus = {
  /** Sorted. */
  readonly clusters: readonly ClusterName[]
  readonly conditions: readonly ObjectCondition[]
}

export type SliceEndpoint = {
  readonly address: string
  readonly ready: boolean
  readonly terminating: boolean
  readonly zone: string
  readonly hostname: string
}

/** An EndpointSlice that is derived: endpoints of one service in one other cluster. */
export type DerivedSlice = {
  readonly service: ServiceKey
  readonly cluster: ClusterName
  readonly addressType: 'IPv4' | 'IPv6'
  readonly ports: readonly { readonly name: string; readonly port: number }[]
  readonly endpoints: readonly SliceEndpoint[]
}

/** What an object of the API server carries beside what is said in it. */
export type Seen<T> = T & {
  readonly uid: string
  readonly resourceVersion: string
  readonly generation?: number
}

/** The objects of the own cluster that the relay writes to, as the API server has them. */
export type SeenObjects = {
  /** Those that exist and are not about to go. */
  readonly namespaces: ReadonlySet<string>
  readonly exports: ReadonlyMap<ServiceKey, Seen<{ readonly conditions: readonly SeenCondition[] }>>
  readonly imports: ReadonlyMap<ServiceKey, Seen<SeenImport>>
  /** Derived ones alone, by `<namespace>/<name>`. */
  readonly slices: ReadonlyMap<string, Seen<DerivedSlice>>
  /** GlobalTrafficPolicies by `<namespace>/<name>`. */
  readonly policies: ReadonlyMap<string, Seen<{ readonly conditions: readonly SeenCondition[] }>>
  /** SamenessGroups by name. */
  readonly groups: ReadonlyMap<string, Seen<{ readonly conditions: readonly SeenCondition[] }>>
}

export type SeenImport = {
  /** False where somebody else made it: it is never written to. */
  readonly isOurs: boolean
  /** Carries `isthmus.dev/accept: "false"`: whoever made it, it stays as it is. */
  readonly refuses: boolean
  readonly spec: ImportSpec
  readonly status: Omit<ImportStatus, 'conditions'> & { readonly conditions: readonly SeenCondition[] }
}
