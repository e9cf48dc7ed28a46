import { Problem } from '#mesh/model/problem.ts'

export type RateSettings = {
  /** How many at once, after a rest. */
  readonly burst: number
  readonly perSecond: number
  /** How many keys are remembered; the one unused for longest is forgotten first. */
  readonly keysMax: number
}

/**
 * Takes one token from `key`'s bucket, or throws `too-many` that says in how many seconds there is one. A forgotten key
 * starts with a full bucket, which only a flood of more than `keysMax` keys can bring about.
 */
export function rateLimit({ burst, perSecond, keysMax }: RateSettings, clock: () => Date): (key: string) => void {
  const buckets = new Map<string, { left: number; at: number }>()
  return (key) => {
    const now = clock().getTime()
    const before = buckets.get(key) ?? { left: burst, at: now }
    const left = Math.min(burst, before.left + (Math.max(0, now - before.at) / 1000) * perSecond)
    buckets.delete(key)
    buckets.set(key, { left: left >= 1 ? left - 1 : left, at: now })
    if (buckets.size > keysMax) for (const oldest of buckets.keys()) if (buckets.delete(oldest)) break
    if (left >= 1) return
    const seconds = Math.ceil((1 - left) / perSecond)
    throw new Problem('too-many', `too many certificate requests from this pod; the next one in ${seconds} s`)
  }
}
