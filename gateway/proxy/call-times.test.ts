import { expect, test } from 'vitest'
import { callTimesOf } from '#gateway/proxy/call-times.ts'
import { latencyBoundsMs } from '#mesh/model/latency.ts'

const zeros = latencyBoundsMs.map(() => 0)
const at = (counts: Readonly<Record<number, number>>) => latencyBoundsMs.map((ms) => counts[ms] ?? 0)
const lineOf = (cluster: string, counts: readonly number[]): string =>
  `cluster.${cluster};.upstream_rq_time: ${latencyBoundsMs.map((ms, n) => `B${ms}(0,${counts[n]})`).join(' ')}`

function reader() {
  let [now, body] = [0, '']
  const asked: string[] = []
  const admin = {
    text: async (_: string, path: string) => {
      asked.push(path)
      if (body === 'gone') throw new Error('Envoy’s admin does not answer')
      return body
    },
  }
  const times = callTimesOf(admin, () => now)
  return {
    ...{ asked, told: times.told },
    /** What is read half a minute later, Envoy saying this. */
    read: (lines: readonly string[] | 'gone', ms = 30_000) => {
      now += ms
      body = lines === 'gone' ? lines : lines.join('\n')
      return times.read()
    },
  }
}
const web = 'outbound|80||web.shop.svc.cluster.local'

test('what was counted since it was told, until it is told; of an Envoy that began anew all of it', async () => {
  const { read, told } = reader()
  expect(await read([lineOf(web, at({ 10: 4, 700: 1 }))])).toEqual([{ cluster: web, counts: at({ 10: 4, 700: 1 }) }])
  // Nobody heard it.
  expect(await read([lineOf(web, at({ 10: 6, 700: 1 }))])).toEqual([{ cluster: web, counts: at({ 10: 6, 700: 1 }) }])
  told()
  expect(await read([lineOf(web, at({ 10: 6, 700: 1 })), lineOf('idle', zeros)])).toEqual([])
  expect(await read([lineOf(web, at({ 10: 7, 700: 1 }))])).toEqual([{ cluster: web, counts: at({ 10: 1 }) }])
  told()
  expect(await read([lineOf(web, at({ 10: 2 }))])).toEqual([{ cluster: web, counts: at({ 10: 2 }) }])
})

test('the 64 with most calls; lines of another form or of other buckets are none', async () => {
  const { read } = reader()
  const many = Array.from({ length: 100 }, (_, n) => lineOf(`outbound|${n}||x`, at({ 1: n })))
  const odd = [
    '',
    'x',
    `cluster.${web};.upstream_rq_time: B1(0,5)`,
    `cluster.${web};.upstream_rq_time: No recorded values`,
  ]
  const found = await read([...odd, ...many])
  expect([found.length, found[0]?.counts[0], found.at(-1)?.counts[0]]).toEqual([64, 99, 36])
})

test('Envoy is asked rarely, and for little; one that does not answer says nothing', async () => {
  const { read, told, asked } = reader()
  expect(await read('gone')).toEqual([])
  expect(await read([lineOf(web, at({ 10: 4 }))], 29_999)).toEqual([])
  expect(asked).toHaveLength(1)
  expect(asked[0]).toMatch(/^\/stats\?usedonly&type=Histograms&histogram_buckets=disjoint&filter=/)
  expect(await read([lineOf(web, at({ 10: 4 }))], 1)).toHaveLength(1)
  // It could not be told; what is told next says nothing, and so is no word of it.
  expect(await read([], 10_000)).toEqual([])
  told()
  expect(await read([lineOf(web, at({ 10: 4 }))], 20_000)).toHaveLength(1)
})

test('what nobody heard for two minutes is of then, not of now', async () => {
  const { read } = reader()
  expect(await read([lineOf(web, at({ 10: 4 }))], 130_000)).toEqual([])
  expect(await read([lineOf(web, at({ 10: 5 }))])).toEqual([{ cluster: web, counts: at({ 10: 1 }) }])
})
