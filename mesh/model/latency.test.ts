import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addedBuckets, type Buckets, countOf, latencyBoundsMs, percentileIn } from '#mesh/model/latency.ts'

const bucketOf = (ms: number): number => latencyBoundsMs.findIndex((bound) => ms <= bound)
const bucketsOf = (samples: readonly number[]): Buckets =>
  latencyBoundsMs.map((_, n) => samples.filter((ms) => bucketOf(ms) === n).length)
const samples = fc.array(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 60_000 })), {
  maxLength: 60,
})
const parts = fc.constantFrom(0.01, 0.5, 0.9, 0.99, 1)

test('however calls are spread over proxies, their buckets together say what one proxy would have said', () => {
  fc.assert(
    fc.property(fc.array(samples, { maxLength: 5 }), parts, (proxies, part) => {
      const merged = proxies.map(bucketsOf).reduce(addedBuckets, [])
      const whole = bucketsOf(proxies.flat())
      expect([countOf(merged), percentileIn(merged, part)]).toEqual([proxies.flat().length, percentileIn(whole, part)])
      expect(proxies.map(bucketsOf).toReversed().reduce(addedBuckets, bucketsOf([]))).toEqual(whole)
    }),
  )
})

test('a percentile is in the bucket of the call that it is, and none of a smaller part is larger', () => {
  fc.assert(
    fc.property(samples, parts, parts, (list, one, other) => {
      const buckets = bucketsOf(list)
      const [small, large] = [Math.min(one, other), Math.max(one, other)]
      expect(percentileIn(buckets, small)).toBeLessThanOrEqual(percentileIn(buckets, large))
      if (list.length === 0) return
      const sorted = list.toSorted((a, b) => a - b)
      const n = bucketOf(sorted[Math.max(1, Math.ceil(one * list.length)) - 1] ?? 0)
      const [lower, upper] = [latencyBoundsMs[n - 1] ?? 0, latencyBoundsMs[n] ?? 0]
      expect(percentileIn(buckets, one)).toBeGreaterThanOrEqual(lower)
      expect(percentileIn(buckets, one)).toBeLessThanOrEqual(upper)
    }),
  )
})

test('of two proxies, one of them slow: the mean of their percentiles would be nobody’s', () => {
  const [fast, slow] = [bucketsOf(Array<number>(990).fill(10)), bucketsOf(Array<number>(10).fill(5000))]
  const both = addedBuckets(fast, slow)
  expect([percentileIn(both, 0.5), percentileIn(both, 0.99)].every((ms) => ms <= 10)).toBe(true)
  expect(percentileIn(both, 0.995)).toBeGreaterThan(3000)
  expect([percentileIn([], 0.5), percentileIn(bucketsOf([3_000_000]), 0.5)]).toEqual([0, 30_000])
})
