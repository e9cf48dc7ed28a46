/** The timers of one part of the relay: they end with it. */
export type Pauses = {
  /** Runs `work` after `ms`, unless ended before. */
  later(ms: number, work: () => void): void
  /** Resolves after `ms`; never where ended before. */
  pause(ms: number): Promise<void>
  ended(): boolean
  end(): void
}

export function openPauses(): Pauses {
  const timers = new Set<NodeJS.Timeout>()
  let ended = false
  const later: Pauses['later'] = (ms, work) => {
    if (ended) return
    const timer = setTimeout(() => {
      timers.delete(timer)
      work()
    }, ms)
    timers.add(timer)
  }
  return {
    later,
    pause: (ms) => new Promise((resolve) => later(ms, resolve)),
    ended: () => ended,
    end: () => {
      ended = true
      for (const timer of timers) clearTimeout(timer)
    },
  }
}
