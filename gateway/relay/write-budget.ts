/** How much may be on its way to the clients of one identity at a time. */
export type WriteBudget = {
  /** True when a response may be written now; otherwise `resume` is called once there is room again. */
  readonly mayWrite: (identity: string, resume: () => void) => boolean
  readonly written: (identity: string, bytes: number) => void
  readonly gone: (identity: string, bytes: number) => void
}

/**
 * Bounds what clients that do not read can hold in memory: each holds one response, and all of one identity together
 * `bytesMax` and one response more. Identities do not wait for each other.
 */
export function createWriteBudget(bytesMax: number): WriteBudget {
  const onTheWay = new Map<string, number>()
  const waiting = new Map<string, Set<() => void>>()
  return {
    mayWrite: (identity, resume) => {
      if ((onTheWay.get(identity) ?? 0) < bytesMax) return true
      const queue = waiting.get(identity) ?? new Set()
      waiting.set(identity, queue.add(resume))
      return false
    },
    written: (identity, bytes) => void onTheWay.set(identity, (onTheWay.get(identity) ?? 0) + bytes),
    gone: (identity, bytes) => {
      const left = (onTheWay.get(identity) ?? 0) - bytes
      if (left > 0) onTheWay.set(identity, left)
      else onTheWay.delete(identity)
      const queue = waiting.get(identity)
      if (!queue || left >= bytesMax) return
      waiting.delete(identity)
      for (const resume of queue) resume()
    },
  }
}
