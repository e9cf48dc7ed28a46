/** Does things a while after they came up. */
export type Later<T> = {
  /** Takes an item, to be done at once or within the usual while, never before `after`; gives when that will be. */
  readonly add: (item: T, after: number) => number
}

/**
 * Gives each item back after a delay drawn evenly from 0 to `mostMs`, in whole milliseconds: one timer for all, because a
 * thousand of them would be a part of what is measured. Items of equal times keep their order, so that whoever hands in
 * the time of its last item as `after` has all of its own in order.
 *
 * While `isBusy` nothing is done, for `mostMs` at the longest: one proxy's answer takes nothing from another that reads,
 * as it would not on a machine of its own.
 */
export function later<T>(given: {
  readonly mostMs: number
  readonly random: () => number
  readonly now: () => number
  readonly schedule: (run: () => void) => void
  readonly take: (item: T) => void
  readonly isBusy?: () => boolean
}): Later<T> {
  const due = new Map<number, T[]>()
  let next = 0
  const run = () => {
    const until = Math.floor(given.now())
    if (given.isBusy?.() && until - next < given.mostMs) return given.schedule(run)
    for (; next <= until && due.size > 0; next++) {
      const items = due.get(next) ?? []
      due.delete(next)
      for (const item of items) given.take(item)
    }
    if (due.size > 0) given.schedule(run)
  }
  return {
    add: (item, after) => {
      const now = Math.floor(given.now())
      if (due.size === 0) {
        next = now
        given.schedule(run)
      }
      // Never before the millisecond that is looked at next.
      const at = Math.max(after, next, now + Math.floor(given.random() * (given.mostMs + 1)))
      const items = due.get(at)
      if (items) items.push(item)
      else due.set(at, [item])
      return at
    },
  }
}

/** Even numbers from 0 to 1 out of a seed. Source: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
