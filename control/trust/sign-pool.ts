import { Problem } from '#mesh/model/problem.ts'

/** Lets a bounded number of signatures be under way at a time, each caller once. */
export type SignPool = { run<T>(who: string, work: () => Promise<T>): Promise<T> }

/**
 * After an outage every relay asks at once. `running` of them are signed for at a time, `waiting` wait in the order they
 * came; past that `too-many`, with a `retryAfterSeconds` that grows with the queue, so that who comes back finds room. A
 * caller that is in it already (its first request timed out) is not taken in twice: `too-many` as well.
 */
export function signPool({ running, waiting }: { readonly running: number; readonly waiting: number }): SignPool {
  let free = running
  const queue: (() => void)[] = []
  const inside = new Map<string, number>()
  /** Issuing CA and serving certificate are asked for side by side. */
  const perCallerMax = 2
  const busy = (detail: string): Problem =>
    new Problem('too-many', detail, { extra: { retryAfterSeconds: 1 + Math.ceil(queue.length / 50) } })
  return {
    run: async (who, work) => {
      const own = inside.get(who) ?? 0
      if (own >= perCallerMax) throw busy(`${who} has ${own} requests for certificates under way: wait for them`)
      if (free === 0 && queue.length >= waiting)
        throw busy(`${queue.length} requests for certificates wait already: try again later`)
      inside.set(who, own + 1)
      try {
        if (free > 0) free--
        else await new Promise<void>((go) => queue.push(go))
        try {
          return await work()
        } finally {
          const next = queue.shift()
          if (next) next()
          else free++
        }
      } finally {
        const left = (inside.get(who) ?? 1) - 1
        if (left === 0) inside.delete(who)
        else inside.set(who, left)
      }
    },
  }
}
