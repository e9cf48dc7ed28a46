/**
 * Upper ends of the buckets in which Envoys count how long calls took, milliseconds: part of their bootstrap, so that all
 * of a mesh count in the same ones. What took longer than the last but one is in the last, which has no end to speak of.
 */
export const latencyBoundsMs: readonly number[] = [
  ...[1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700],
  ...[1000, 1500, 2000, 3000, 5000, 10_000, 30_000, 3_600_000],
]

/** Calls by how long they took: one count for each of `latencyBoundsMs`. */
export type Buckets = readonly number[]

/** What both counted. Percentiles of two cannot be brought together, their buckets can. */
export const addedBuckets = (a: Buckets, b: Buckets): Buckets =>
  latencyBoundsMs.map((_, n) => (a[n] ?? 0) + (b[n] ?? 0))

export const countOf = (buckets: Buckets): number => buckets.reduce((sum, count) => sum + count, 0)

/**
 * What that part of the calls (0..1) took at most, as if those of a bucket were spread evenly over it; 0 of no calls. In
 * the last bucket its lower end: at least that.
 */
export function percentileIn(buckets: Buckets, part: number): number {
  const all = countOf(buckets)
  const rank = Math.max(1, Math.ceil(part * all))
  let before = 0
  for (const [n, count] of buckets.entries()) {
    if (count > 0 && before + count >= rank) {
      const [lower, upper] = [latencyBoundsMs[n - 1] ?? 0, latencyBoundsMs[n] ?? 0]
      return n >= latencyBoundsMs.length - 1 ? lower : lower + ((upper - lower) * (rank - before)) / count
    }
    before += count
  }
  return 0
}
