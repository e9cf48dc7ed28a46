/** How much may be on its way to the clients of one identity at a time. */
export type WriteBudget = {
  /** The account on which all streams of one identity draw. */
  readonly open: (identity: string) => WriteAccount
}

export type WriteAccount = {
  /** True when a response may be written now; otherwise `resume` is called once there is room again. */
  readonly mayWrite: (resume: () => void) => boolean
  readonly written: (bytes: number) => void
  readonly gone: (bytes: number) => void
  /** This stream draws no more; what it has on its way must be gone before. */
  readonly close: () => void
}

/**
 * Bounds what clients that do not read can hold in memory: each holds one response, and all of one identity together
 * `bytesMax` and one response more. Identities do not wait for each other.
 */
export function createWriteBudget(bytesMax: number): WriteBudget {
  const accounts = new Map<string, { readonly account: WriteAccount; streams: number }>()
  return {
    open: (identity) => {
      const known = accounts.get(identity) ?? { account: accountOf(identity), streams: 0 }
      known.streams += 1
      accounts.set(identity, known)
      return known.account
    },
  }

  function accountOf(identity: string): WriteAccount {
    let onTheWay = 0
    let waiting = new Set<() => void>()
    return {
      mayWrite: (resume) => {
        if (onTheWay < bytesMax) return true
        waiting.add(resume)
        return false
      },
      written: (bytes) => {
        onTheWay += bytes
      },
      gone: (bytes) => {
        onTheWay -= bytes
        if (waiting.size === 0 || onTheWay >= bytesMax) return
        const queue = waiting
        waiting = new Set()
        for (const resume of queue) resume()
      },
      close: () => {
        const known = accounts.get(identity)
        if (known && --known.streams === 0) accounts.delete(identity)
      },
    }
  }
}
