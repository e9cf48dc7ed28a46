/** The facts of a pod that config for its own proxy needs. */
export type Pod = {
  readonly namespace: string
  readonly name: string
  readonly ips: readonly string[]
  readonly serviceAccount: string
  readonly labels: Readonly<Record<string, string>>
  readonly node: string
  readonly meshed: boolean
  /** As the API server named it; a file says none. */
  readonly uid?: string
}

/** What plaintext a workload port accepts. Source: Istio PeerAuthentication. */
export type MutualTlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE'

/** A PeerAuthentication: the most specific wins (selector, then namespace, then the root namespace). */
export type PeerAuthentication = {
  readonly namespace: string
  readonly name: string
  /** Empty = every pod of the namespace (or of the cluster, in the root namespace `istio-system`). */
  readonly selector: Readonly<Record<string, string>>
  /** Absent = inherit. */
  readonly mode?: MutualTlsMode
  readonly ports: Readonly<Record<string, MutualTlsMode>>
}
