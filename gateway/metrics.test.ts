import { expect, test } from 'vitest'
import { nothingYet, relayMetrics } from '#gateway/metrics.ts'
import { typeUrls } from '#mesh/model/resource.ts'

const samples = async (observed: Partial<typeof nothingYet>) => {
  const { text } = await relayMetrics(() => ({ ...nothingYet, ...observed })).render()
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

test('what was refused is counted, each by its reason', async () => {
  const lines = await samples({
    refusedStreams: { 'node-mismatch': 3, unauthenticated: 0 },
    refusedCertificates: { 'too-many': 2 },
    quarantined: { [typeUrls.cluster]: 4 },
    ...{ rejectedObjects: 5, refusedItems: 6, mismatches: 7, hasRival: true },
  })
  expect(lines).toEqual(
    expect.arrayContaining([
      'isthmus_relay_refused_streams_total{reason="node-mismatch"} 3',
      'isthmus_relay_refused_streams_total{reason="unauthenticated"} 0',
      'isthmus_relay_refused_certificates_total{reason="too-many"} 2',
      'isthmus_relay_quarantined_resources{type="Cluster"} 4',
      ...['isthmus_relay_rejected_objects 5', 'isthmus_relay_refused_items 6'],
      ...['isthmus_relay_stream_mismatches_total 7', 'isthmus_relay_rivals 1'],
    ]),
  )
})

test('what is mended is gone with the next look', async () => {
  let quarantined: Readonly<Record<string, number>> = { [typeUrls.cluster]: 4 }
  const metrics = relayMetrics(() => ({ ...nothingYet, quarantined }))
  expect((await metrics.render()).text).toContain('quarantined_resources{type="Cluster"} 4')
  quarantined = {}
  expect((await metrics.render()).text).not.toContain('quarantined_resources{')
})

test('how long calls took by service; of what is not measured there is nothing, which is not 0', async () => {
  const latencies = [{ service: 'shop/reviews', p50Ms: 3, p90Ms: 20, p99Ms: 810 }]
  const lines = await samples({ load: { ...nothingYet.load, latencies } })
  const of = (list: readonly string[]) => list.filter((line) => line.startsWith('isthmus_relay_call_seconds'))
  expect(of(lines)).toEqual(
    Object.entries({ '0.5': 0.003, '0.9': 0.02, '0.99': 0.81 }).map(
      ([quantile, seconds]) => `isthmus_relay_call_seconds{service="shop/reviews",quantile="${quantile}"} ${seconds}`,
    ),
  )
  expect(of(await samples({}))).toEqual([])
})

test('before the relay has joined nothing is labelled, and nothing is missing', async () => {
  const lines = await samples({})
  expect(lines.filter((line) => /_relay_[a-z_]+\{(reason|type)=/.test(line))).toEqual([])
  expect(lines).toContain('isthmus_relay_centre_silence_seconds -1')
})
