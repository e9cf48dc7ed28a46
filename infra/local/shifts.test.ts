import { expect, test } from 'vitest'
import { causeOf, changesIn } from './shifts.ts'
import type { Visit } from './shopper.ts'
import { openTraffic } from './traffic.ts'

const visitAt = (at: number, clusterByService: Record<string, string>, ok = true): Visit => ({
  ...{ at, ok, ms: 5, clusterByService, clusters: Object.values(clusterByService), isMutual: true },
})

/** Fifty a second from 0 until `until`; `who` says who answers reviews at a moment. */
const series = (until: number, who: (at: number, n: number) => string): Visit[] =>
  Array.from({ length: until / 20 }, (_, n) => visitAt(n * 20, { reviews: who(n * 20, n) }))

test('a cluster that answers no more, and the one that does instead, are a change', () => {
  const visits = series(6000, (at, n) => (at < 4500 && n % 2 === 0 ? 'ireland-1' : 'virginia-2'))
  expect(changesIn(visits, 6000)).toEqual([
    { service: 'reviews', from: ['ireland-1'], to: ['virginia-2'], about: '-ireland-1' },
  ])
})

test('a cluster that comes back takes from those that lose', () => {
  const visits = series(6000, (at, n) => (at > 4700 && n % 2 === 0 ? 'ireland-1' : 'virginia-2'))
  expect(changesIn(visits, 6000)).toMatchObject([{ from: ['virginia-2'], to: ['ireland-1'] }])
})

test('shares that move, and a moment in which nobody asks, are no change', () => {
  const moving = series(6000, (at, n) => (n % (at < 4700 ? 2 : 5) === 0 ? 'ireland-1' : 'virginia-2'))
  expect(changesIn(moving, 6000)).toEqual([])
  const silent = series(4000, () => 'ireland-1')
  expect(changesIn(silent, 6000)).toEqual([])
})

test('the cause is the last deed to one of the clusters, and none that is long ago or of another', () => {
  const change = { service: 'reviews', from: ['a'], to: ['b'], about: '-a' }
  const deed = (atMs: number, cluster: string) => ({ atMs, cluster, words: `${cluster} at ${atMs}` })
  const deeds = [deed(0, 'a'), deed(30_000, 'a'), deed(31_000, 'c')]
  expect(causeOf(change, deeds, 32_000)?.words).toBe('a at 30000')
  expect(causeOf(change, deeds, 90_000)).toBeUndefined()
})

test('a shift is told once, and what fails within the next seconds is counted to it', () => {
  let now = 0
  const traffic = openTraffic(() => now)
  const told: string[] = []
  for (; now < 14_000; now += 20) {
    const dead = now >= 5000
    const failed = now >= 7000 && now < 7200
    if (now === 5000) traffic.did('ireland-1', 'ireland-1 was killed')
    traffic.saw(visitAt(now, { reviews: dead || now % 40 === 0 ? 'virginia-2' : 'ireland-1' }, !failed))
    if (now % 260 === 0) told.push(...traffic.look().map(({ service, cause }) => `${service} ${cause}`))
  }
  expect(told).toEqual(['reviews ireland-1 was killed'])
  expect(traffic.shifts()).toMatchObject([{ from: ['ireland-1'], to: ['virginia-2'], failed: 10 }])
  expect(traffic.counted()).toMatchObject({ requests: 700, failed: 10 })
  expect(traffic.summary()).toMatchObject({ perSecond: 50, p99: 5, reviews: [['virginia-2', 100]] })
})

test('clusters that are found one after the other at the start are no shift; later, and after a deed, they are', () => {
  const toldBy = (cameAt: number, deed?: string): number => {
    let now = 0
    let told = 0
    const traffic = openTraffic(() => now)
    for (; now < 20_000; now += 20) {
      if (now === cameAt && deed !== undefined) traffic.did('ireland-1', deed)
      traffic.saw(visitAt(now, { reviews: now < cameAt || now % 40 === 0 ? 'virginia-2' : 'ireland-1' }))
      if (now % 260 === 0) told += traffic.look().length
    }
    return told
  }
  expect([toldBy(3000), toldBy(3000, 'ireland-1 is back'), toldBy(12_000)]).toEqual([0, 1, 1])
})

test('what is kept of visits is bounded by a minute', () => {
  let now = 0
  const traffic = openTraffic(() => now)
  for (; now < 200_000; now += 100) {
    traffic.saw(visitAt(now, {}))
    if (now % 1000 === 0) traffic.look()
  }
  expect(traffic.visits().length).toBeLessThanOrEqual(611)
})

test('a clock that is set back leaves no visits of the future', () => {
  let now = 600_000
  const traffic = openTraffic(() => now)
  traffic.saw(visitAt(now, {}))
  now = 0
  traffic.look()
  expect(traffic.visits()).toEqual([])
})
