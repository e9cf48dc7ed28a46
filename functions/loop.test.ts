import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { inProcessBus } from '#control/bus.ts'
import { openLoop } from '#functions/loop.ts'
import { Problem } from '#mesh/model/problem.ts'

beforeEach(() => void vi.useFakeTimers({ now: 0 }))
afterEach(() => void vi.useRealTimers())

/** A loop that rests 10 ms after each round and waits 1000 then; `rounds` are the times of its rounds, ms. */
function started(work: (n: number) => number, failed: { restMs?: number; waitMs: number } = { waitMs: 500 }) {
  const rounds: number[] = []
  const said: string[] = []
  const bus = inProcessBus(() => undefined)
  const quiet = () => undefined
  const log = { info: quiet, warn: quiet, error: (_: object, text: string) => void said.push(text) }
  const loop = openLoop(
    { bus, log, now: Date.now },
    {
      round: async () => work(rounds.push(Date.now())),
      wakes: ({ kind }) => kind === 'outbox',
      windowMs: 10,
      onFailure: { text: 'it failed', ...failed },
    },
  )
  return { loop, rounds, said, note: (kind: 'outbox' | 'load') => bus.announce({ kind, cluster: 'a' } as never) }
}

test('a note that concerns it wakes it, and a burst is one round', async () => {
  const { loop, rounds, note } = started(() => 1000)
  await vi.advanceTimersByTimeAsync(100)
  note('load')
  note('outbox')
  note('outbox')
  await vi.advanceTimersByTimeAsync(5)
  note('outbox')
  await vi.advanceTimersByTimeAsync(995)
  expect(rounds).toEqual([0, 100, 110])
  await loop.stop()
})

test('a round that has more to do is followed by the next after the rest alone', async () => {
  const { loop, rounds } = started((n) => (n < 3 ? 0 : 1000))
  await vi.advanceTimersByTimeAsync(1029)
  expect(rounds).toEqual([0, 10, 20])
  await vi.advanceTimersByTimeAsync(1)
  expect(rounds).toEqual([0, 10, 20, 1030])
  await loop.stop()
})

test('failures are counted from the first, told as far as strangers may know, and forgotten once it goes well', async () => {
  const faults = [new Problem('unavailable', 'the store is away'), new Error('a secret')]
  const { loop, rounds, said } = started((n) => {
    const fault = faults[n - 1]
    if (fault) throw fault
    return 1000
  })
  await vi.advanceTimersByTimeAsync(1)
  expect(loop.failing()).toEqual({ times: 1, since: '1970-01-01T00:00:00.000Z', why: 'the store is away' })
  await vi.advanceTimersByTimeAsync(510)
  expect(loop.failing()).toMatchObject({
    times: 2,
    since: '1970-01-01T00:00:00.000Z',
    why: 'a fault of the centre, which its log tells',
  })
  await vi.advanceTimersByTimeAsync(510)
  expect([loop.failing(), rounds, said]).toEqual([undefined, [0, 510, 1020], ['it failed', 'it failed']])
  await loop.stop()
})

test('after a failure nobody wakes it before its rest is over; who stops it waits for the round under way', async () => {
  const gate = Promise.withResolvers<number>()
  const { loop, rounds, note } = started(
    (n) => {
      if (n === 1) throw new Error('no')
      return gate.promise as never
    },
    { restMs: 300, waitMs: 0 },
  )
  await vi.advanceTimersByTimeAsync(5)
  note('outbox')
  await vi.advanceTimersByTimeAsync(294)
  expect(rounds).toEqual([0])
  await vi.advanceTimersByTimeAsync(1)
  expect(rounds).toEqual([0, 300])
  let stopped = false
  const stopping = loop.stop().then(() => {
    stopped = true
  })
  await vi.advanceTimersByTimeAsync(1000)
  expect(stopped).toBe(false)
  gate.resolve(0)
  await stopping
  expect(rounds).toEqual([0, 300])
})
