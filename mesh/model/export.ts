import type { ServiceKey } from '#mesh/model/id.ts'
import type { ServicePort } from '#mesh/model/service.ts'

/** A service that its cluster offers to others, as that cluster reports it: facts of low churn. */
export type ServiceExport = {
  readonly key: ServiceKey
  readonly ports: readonly ServicePort[]
  /** Service accounts of the meshed pods behind it, sorted: the identities a caller must accept. Never empties while pods are down. */
  readonly serviceAccounts: readonly string[]
  /**
   * Members that may use it, `*` for all; absent = all. `spiffe://<trust domain>` is another mesh's workloads, who are
   * never meant by `*` or by absence. From the annotation `isthmus.dev/consumers`, as its users wrote it: a name that is
   * nobody's stays in the list and lets nobody in.
   */
  readonly consumers?: readonly string[]
  /**
   * Unix ms. Where two clusters disagree about ports the oldest export wins (MCS API), so the centre puts the time here
   * since which it knows of the export; a report says when the object was made, which decides nothing.
   */
  readonly createdAt: number
  readonly headless: boolean
  /** Callers may choose this cluster by a name of its own. From the annotation `isthmus.dev/per-cluster-name`. */
  readonly perCluster?: true
  /** Of its Service, at most `labelsMax`: policies select by them. */
  readonly labels?: Readonly<Record<string, string>>
  /** Its Service asks that a client stays with one pod (`sessionAffinity`). */
  readonly sticky?: true
}
