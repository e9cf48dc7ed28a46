import type { OwnCluster, RejectedObject } from '#mesh/model/view.ts'

/**
 * The own cluster's objects, followed: a directory of YAML or a Kubernetes API behind one interface.
 *
 * What cannot be read is unknown, and unknown is not empty: an object goes only when its source says so. Whatever was
 * last good stays in `current` and the reason is in `rejected`.
 */
export interface ClusterWatch {
  /** Resolves after the first complete read; only then `current` means anything. Throws where there is nothing to read. */
  start(): Promise<void>
  /**
   * False while `current` is what was known before a restart, because the source cannot be asked: it serves the own pods,
   * and is told to nobody else. Absent = it is what the source says.
   */
  isSynced?(): boolean
  /** One consistent value, replaced as a whole; parts that did not change keep their identity. */
  current(): OwnCluster
  /** What is set aside or stale, and why. Sorted by place, bounded. */
  rejected(): readonly RejectedObject[]
  /** Calls `listener` after `current` or `rejected` changed; gives back what ends that. */
  onChange(listener: () => void): () => void
  stop(): Promise<void>
}
