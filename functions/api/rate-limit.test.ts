import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RateLimit } from '#functions/api/rate-limit.ts'

const takes = (limit: RateLimit, caller: string, now: number): boolean => {
  try {
    limit.take(caller, now)
    return true
  } catch {
    return false
  }
}

describe('a rate limit', () => {
  test('never lets more through than burst plus rate times time, whenever requests come', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }), (steps, perSecond, burst) => {
        const limit = new RateLimit({ perSecond, burst })
        let now = 0
        let through = 0
        for (const step of steps) {
          now += step
          if (takes(limit, 'a', now)) through++
        }
        expect(through).toBeLessThanOrEqual(burst + (now / 1000) * perSecond + 1e-6)
      }),
    )
  })

  test('keeps its word: after Retry-After the next request passes', () => {
    const limit = new RateLimit({ perSecond: 0.5, burst: 1 })
    limit.take('a', 0)
    const refused = (() => {
      try {
        limit.take('a', 0)
      } catch (error) {
        return error as { extra: { retryAfterSeconds: number } }
      }
      return undefined
    })()
    expect(takes(limit, 'a', (refused?.extra.retryAfterSeconds ?? 0) * 1000)).toBe(true)
  })

  test('callers do not share, a clock that goes back gives nothing, and memory is bounded', () => {
    const limit = new RateLimit({ perSecond: 1, burst: 1 }, 2)
    expect([takes(limit, 'a', 5000), takes(limit, 'b', 5000), takes(limit, 'a', 0)]).toEqual([true, true, false])
    takes(limit, 'c', 5000)
    expect([takes(limit, 'c', 5000), takes(limit, 'b', 5000)]).toEqual([false, true])
  })
})
