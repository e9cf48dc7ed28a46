import { expect, test } from 'vitest'
import { duration } from '#mesh/translate/encode.ts'
import { ejectionTimes } from '#mesh/translate/outbound-clusters.ts'

test.each<[asked: Parameters<typeof ejectionTimes>[0], first: number, longest: number]>([
  [undefined, 11, 30],
  [{}, 11, 30],
  [{ baseEjectionMs: 2000 }, 2, 30],
  [{ baseEjectionMs: 60_000 }, 60, 60],
  [{ maxEjectionMs: 5000 }, 5, 5],
  [{ maxEjectionMs: 90_000 }, 11, 90],
  [{ baseEjectionMs: 1000, maxEjectionMs: 4000 }, 1, 4],
  [{ baseEjectionMs: 10_000, maxEjectionMs: 5000 }, 10, 10],
])('no first ejection is longer than the longest, which Envoy refuses: %j', (asked, first, longest) => {
  expect(ejectionTimes(asked)).toEqual({
    baseEjectionTime: duration(first * 1000),
    maxEjectionTime: duration(longest * 1000),
  })
})
