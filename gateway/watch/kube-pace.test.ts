import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { backoffMs, openPace } from '#gateway/watch/kube-pace.ts'
import { isOlder } from '#gateway/watch/resource-version.ts'
import { Problem } from '#mesh/model/problem.ts'

const backoff = { firstMs: 500, maxMs: 30_000 }
const asked = (retryAfterSeconds: number) =>
  new Problem('too-many', 'later', { extra: { status: 429, retryAfterSeconds } })

describe('how long is waited', () => {
  test.each([
    [1, 250, 500],
    [2, 500, 1000],
    [20, 15_000, 30_000],
    [2000, 15_000, 30_000],
  ])('after failure %i: between %i and %i ms, by chance', (failures, least, most) => {
    expect(backoffMs(failures, backoff, undefined, () => 0)).toBe(least)
    expect(backoffMs(failures, backoff, undefined, () => 1)).toBe(most)
  })

  test('never less than the server asked for, and never for hours', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 300 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (failures, seconds, chance) => {
          expect(backoffMs(failures, backoff, asked(seconds), () => chance)).toBeGreaterThanOrEqual(seconds * 1000)
        },
      ),
    )
    expect(backoffMs(1, backoff, asked(86_400), () => 1)).toBeLessThan(400_000)
  })
})

test('who waits for the server is woken when it is back; who was told to wait is not', async () => {
  const ending = new AbortController()
  const pace = openPace({ signal: ending.signal, random: () => 0 })
  const ended: string[] = []
  const woken = pace.pause(600_000, 'wakes').then(() => ended.push('away'))
  const told = pace.pause(600_000).then(() => ended.push('told'))
  pace.wake()
  await woken
  expect(ended).toEqual(['away'])
  ending.abort()
  await told
  await pace.pause(600_000)
})

test('one at a time, in order, whatever fails', async () => {
  const pace = openPace({ signal: new AbortController().signal, random: () => 0 })
  const said: string[] = []
  const work = (name: string) =>
    pace.inTurn(async () => {
      said.push(`${name} begins`)
      await new Promise((resolve) => setImmediate(resolve))
      said.push(`${name} ends`)
      if (name === 'a') throw new Error('a')
    })
  await Promise.allSettled([work('a'), work('b'), work('c')])
  expect(said).toEqual(['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]))
})

test.each([
  ['9', '10', true],
  ['10', '9', false],
  ['10', '10', false],
  ['99999999999999999998', '99999999999999999999', true],
  ['', '10', false],
  ['09', '10', false],
  ['x9', '10', false],
  ['9', 'x10', false],
])('version %s is older than %s: %s', (a, b, is) => expect(isOlder(a, b)).toBe(is))
