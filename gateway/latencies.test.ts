import { expect, test } from 'vitest'
import { openLatencies } from '#gateway/latencies.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import { serviceKey } from '#mesh/model/id.ts'
import { latencyBoundsMs } from '#mesh/model/latency.ts'

const [reviews, films] = [serviceKey('shop', 'reviews'), serviceKey('shop', 'films')]
const config = { imports: new Map([reviews, films].map((key) => [key, {}])) } as unknown as ClusterConfig
const counts = (of: Readonly<Record<number, number>>) => latencyBoundsMs.map((ms) => of[ms] ?? 0)
const of = (service: string, took: Readonly<Record<number, number>>, port = 80) => ({
  cluster: `outbound|${port}||${service}.shop.svc.cluster.local`,
  counts: counts(took),
})

function open() {
  let now = 0
  const latencies = openLatencies(
    () => config,
    () => now,
  )
  return {
    ...latencies,
    after: (ms: number) => {
      now += ms
    },
  }
}

test('what proxies count is added up by service, whatever port, and only of what is imported', () => {
  const { take, list } = open()
  take([of('reviews', { 10: 90 }), of('reviews', { 10: 800 }, 9080), of('secret', { 10: 5 })])
  take([of('reviews', { 5000: 10 }), of('films', { 2: 1 }), { cluster: 'xds-grpc', counts: counts({ 1: 7 }) }])
  expect(list()).toEqual([
    { service: reviews, p50Ms: expect.any(Number), p90Ms: expect.any(Number), p99Ms: 3200, count: 900 },
    expect.objectContaining({ service: films, count: 1 }),
  ])
})

test('of the last minute: what is older is nothing', () => {
  const { take, list, after } = open()
  take([of('reviews', { 10: 4 })])
  after(50_000)
  take([of('reviews', { 10: 3 })])
  expect(list()[0]?.count).toBe(7)
  after(10_000)
  expect(list()[0]?.count).toBe(3)
  after(60_000)
  expect(list()).toEqual([])
})

test.each([
  ['below nothing', -1],
  ['half a call', 0.5],
  ['more than anybody calls', 1e9],
])('%s is not believed, the rest is', (_, lie) => {
  const { take, list } = open()
  take([{ ...of('reviews', {}), counts: counts({ 10: lie }) }, of('films', { 10: 2 })])
  expect(list().map(({ service }) => service)).toEqual([films])
})

test('so many services are told: those with most calls', () => {
  const keys = Array.from({ length: 2100 }, (_, n) => serviceKey('shop', `s-${n}`))
  const many = { imports: new Map(keys.map((key) => [key, {}])) } as unknown as ClusterConfig
  const { take, list } = openLatencies(
    () => many,
    () => 0,
  )
  take(keys.map((_, n) => of(`s-${n}`, { 10: n + 1 })))
  expect([list().length, list()[0]?.count]).toEqual([500, 2000])
})
