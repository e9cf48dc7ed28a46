import { expect, test } from 'vitest'
import { later, seeded } from '#tests/bench/load/later.ts'

/** A clock that is turned by hand, and whatever is to run when it moves. */
function clock() {
  let time = 0.5
  let runs: (() => void)[] = []
  return {
    now: () => time,
    schedule: (run: () => void) => void runs.push(run),
    to: (next: number) => {
      time = next
      const due = runs
      runs = []
      for (const run of due) run()
    },
    waiting: () => runs.length,
  }
}

test('everything is done within its while, evenly, and nothing runs when nothing waits', () => {
  const hand = clock()
  const done: { readonly from: number; readonly at: number }[] = []
  const answers = later<number>({
    ...{ mostMs: 20, random: seeded(7), now: hand.now, schedule: hand.schedule },
    take: (from) => done.push({ from, at: hand.now() }),
  })
  for (let ms = 1; ms <= 1000; ms++) {
    hand.to(ms)
    answers.add(ms, 0)
  }
  for (let ms = 1001; ms <= 1030; ms++) hand.to(ms)
  const waits = done.map(({ from, at }) => at - from)
  expect(waits.length).toBe(1000)
  expect(Math.max(...waits)).toBeLessThanOrEqual(21)
  const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length
  expect(mean).toBeGreaterThan(9)
  expect(mean).toBeLessThan(12)
  expect(hand.waiting()).toBe(0)
})

test('what one stream read stays in order', () => {
  const hand = clock()
  const done: number[] = []
  const answers = later<number>({
    ...{ mostMs: 20, random: seeded(7), now: hand.now, schedule: hand.schedule },
    take: (n) => done.push(n),
  })
  let last = 0
  for (let n = 0; n < 50; n++) last = answers.add(n, last)
  for (let ms = 1; ms < 100; ms += 7) hand.to(ms)
  expect(done).toEqual(Array.from({ length: 50 }, (_, n) => n))
})

test('a clock that jumps leaves nothing behind', () => {
  const hand = clock()
  const done: number[] = []
  const answers = later<number>({
    ...{ mostMs: 20, random: seeded(1), now: hand.now, schedule: hand.schedule },
    take: (n) => done.push(n),
  })
  answers.add(1, 0)
  hand.to(5000)
  answers.add(2, 0)
  hand.to(9000)
  expect(done).toEqual([1, 2])
})

test('who reads is not disturbed, for the usual while at most', () => {
  const hand = clock()
  const done: number[] = []
  let isBusy = true
  const answers = later<number>({
    ...{ mostMs: 20, random: () => 0, now: hand.now, schedule: hand.schedule },
    take: () => done.push(hand.now()),
    isBusy: () => isBusy,
  })
  answers.add(1, 0)
  for (let ms = 1; ms <= 30; ms++) hand.to(ms)
  isBusy = false
  answers.add(2, 0)
  hand.to(31)
  expect(done).toEqual([20, 31])
})
