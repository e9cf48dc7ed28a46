import type { StreamChange } from '#control/stream-change.ts'

/** Something that was committed a moment ago. Lossy by design: whoever misses one finds out by a pull or at its next start. */
export type Note =
  | { readonly kind: 'streams'; readonly changes: readonly StreamChange[]; readonly urgent?: boolean }
  /** The outbox has rows. */
  | { readonly kind: 'outbox' }
  /** A cluster has said what it holds of trust: a rotation may wait for it. */
  | { readonly kind: 'trust'; readonly clusterId: string }
  /** A cluster has said what its callers do: a drain may wait for it. */
  | { readonly kind: 'load'; readonly cluster: string }
  /** The cluster left or has another key: its tokens are void. */
  | { readonly kind: 'cluster-void'; readonly clusterId: string }

export type Bus = {
  announce(note: Note): void
  /** Calls `listener` with each note from now on; the answer ends that. */
  listen(listener: (note: Note) => void): () => void
}

/** The bus of a centre in one process. A listener's fault is reported and reaches nobody else. */
export function inProcessBus(onFault: (fault: unknown) => void): Bus {
  const listeners = new Set<(note: Note) => void>()
  return {
    announce: (note) => {
      for (const listener of [...listeners])
        try {
          listener(note)
        } catch (fault) {
          onFault(fault)
        }
    },
    listen: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
