import { expect, test } from 'vitest'
import { lagOf } from '#tests/bench/rounds.ts'

const periodMs = 100
const proxies = 3
/** One change each round, the last stream so many ms behind it. */
const changes = (...lags: readonly number[]) =>
  lags.map((lag, n) => {
    const at = BigInt(n * periodMs * 1e6)
    return { at, last: at + BigInt(lag * 1e6), streams: proxies }
  })

test('in time is its own round and one further', () => {
  expect(lagOf(changes(50, 150, 200, 201), { periodMs, proxies })).toEqual({
    ...{ p50: 200, p99: 201, max: 201, inTime: 0.75, missed: 0 },
  })
})

test('a queue that grows is seen though everything comes in order', () => {
  const growing = changes(...Array.from({ length: 20 }, (_, n) => 50 + n * 50))
  expect(lagOf(growing, { periodMs, proxies }).inTime).toBe(0.2)
})

test('a change that a stream never read is not in time', () => {
  const [first = { at: 0n, last: 0n, streams: 0 }, ...rest] = changes(50, 50)
  const lag = lagOf([{ ...first, streams: 2 }, ...rest], { periodMs, proxies })
  expect(lag).toMatchObject({ missed: 1, inTime: 0.5 })
})
