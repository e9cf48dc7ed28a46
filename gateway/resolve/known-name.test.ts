import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Answer } from '#gateway/resolve/ask-dns.ts'
import { afterAnswer, type KnownName, nameLimits as limits, nextAskMs } from '#gateway/resolve/known-name.ts'

const said = (addresses: string, ttlSeconds = 60): Answer => ({
  kind: 'addresses',
  addresses: addresses.split(' '),
  ttlSeconds,
})
const silence: Answer = { kind: 'failed', reason: 'no answer' }
const no: Answer = { kind: 'none', reason: 'NXDOMAIN' }

/** Answers by the second at which they come; gives the addresses to dial after the last. */
function dialledAfter(...answers: readonly (readonly [second: number, answer: Answer])[]): string {
  let known: KnownName | undefined
  for (const [second, answer] of answers) known = afterAnswer(known, answer, second * 1000, limits)
  return known?.addresses.map(({ address }) => address).join(' ') ?? ''
}
const hour = 3600

describe('after an answer', () => {
  test('the addresses are dialled, each once, in order', () => {
    expect(dialledAfter([0, said('10.0.0.2 10.0.0.1 10.0.0.2')])).toBe('10.0.0.1 10.0.0.2')
  })

  test('an address that is left out is dialled for a moment more, and then not', () => {
    const move = [0, said('10.0.0.1')] as const
    expect(dialledAfter(move, [30, said('10.0.0.9')])).toBe('10.0.0.1 10.0.0.9')
    expect(dialledAfter(move, [30, said('10.0.0.9')], [61, said('10.0.0.9')])).toBe('10.0.0.9')
  })

  test('answers that name some of many in turn: none of them comes and goes', () => {
    const turns = Array.from({ length: 20 }, (_, i) => [i * 10, said(i % 2 ? '10.0.0.1' : '10.0.0.2')] as const)
    expect(dialledAfter(...turns)).toBe('10.0.0.1 10.0.0.2')
  })

  test('silence keeps the last good one for a week, and then it ends', () => {
    expect(dialledAfter([0, said('10.0.0.1')], [1, silence], [167 * hour, silence])).toBe('10.0.0.1')
    expect(dialledAfter([0, said('10.0.0.1')], [1, silence], [169 * hour, silence])).toBe('')
  })

  test('a no keeps it for an hour, whatever silence comes between, and a good answer begins anew', () => {
    const first = [[0, said('10.0.0.1')] as const, [1, no] as const]
    expect(dialledAfter(...first, [3500, no])).toBe('10.0.0.1')
    expect(dialledAfter(...first, [3000, silence], [3602, no])).toBe('')
    expect(dialledAfter(...first, [3000, said('10.0.0.1')], [3602, no])).toBe('10.0.0.1')
  })

  test('an address that lingered when the DNS fell silent stays: unknown is not empty', () => {
    expect(dialledAfter([0, said('10.0.0.1')], [30, said('10.0.0.9')], [100, silence])).toBe('10.0.0.1 10.0.0.9')
  })

  test('never heard and no answer: nothing', () => expect(dialledAfter([0, silence], [5, no])).toBe(''))

  test('500 addresses: a few, and the same ones whatever the order', () => {
    const many = Array.from({ length: 500 }, (_, i) => `10.0.${i >> 8}.${i % 256}`)
    const few = dialledAfter([0, said(many.join(' '))])
    expect(few.split(' ')).toHaveLength(limits.addressesPerName)
    expect(dialledAfter([0, said(many.toReversed().join(' '))])).toBe(few)
    expect(dialledAfter([0, said('10.0.1.99')], [9, said(many.join(' '))])).toContain('10.0.1.99')
  })

  test('any answers: bounded, never empty while one was good within the hour', () => {
    const addresses = fc.uniqueArray(fc.ipV4(), { minLength: 1, maxLength: 40 })
    const good = addresses.map((all): Answer => ({ kind: 'addresses', addresses: all, ttlSeconds: 0 }))
    fc.assert(
      fc.property(fc.array(fc.oneof(good, fc.constant(silence), fc.constant(no)), { maxLength: 30 }), (answers) => {
        let known: KnownName | undefined
        let anyGood = false
        for (const [i, answer] of answers.entries()) {
          known = afterAnswer(known, answer, i * 100_000, limits)
          anyGood ||= answer.kind === 'addresses'
          expect(known.addresses.length).toBeLessThanOrEqual(limits.addressesPerName)
          if (anyGood) expect(known.addresses.length).toBeGreaterThan(0)
          const list = known.addresses.map(({ address }) => address)
          expect(list).toEqual([...new Set(list)].toSorted())
        }
      }),
    )
  })
})

describe('the next question', () => {
  const nextAfter = (answer: Answer, times = 1, random = 0): number => {
    let known: KnownName | undefined
    for (let i = 0; i < times; i++) known = afterAnswer(known, answer, 0, limits)
    return known ? nextAskMs(known, answer, 0, random, limits) : Number.NaN
  }

  test('at the end of the answer’s life, within bounds', () => {
    expect([0, 60, 86_400].map((ttl) => nextAfter(said('10.0.0.1', ttl)))).toEqual([5000, 60_000, 300_000])
  })
  test('after faults ever slower, to a minute', () => {
    expect([1, 2, 3, 9].map((times) => nextAfter(silence, times))).toEqual([5000, 10_000, 20_000, 60_000])
  })
  test('when a lingering address is due to go', () => {
    const before = afterAnswer(undefined, said('10.0.0.1'), 0, limits)
    const known = afterAnswer(before, said('10.0.0.9', 300), 30_000, limits)
    expect(nextAskMs(known, said('10.0.0.9', 300), 30_000, 0, limits)).toBe(30_000)
  })
  test('never faster than the bound, and relays spread apart', () => {
    expect(nextAfter(said('10.0.0.1', 0), 1, 0.999)).toBeGreaterThan(5900)
    expect(nextAfter(said('10.0.0.1', 0), 1, 0)).toBe(5000)
  })
})
