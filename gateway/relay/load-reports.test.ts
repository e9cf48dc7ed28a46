import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import type { GrpcCall } from '#gateway/grpc/call.ts'
import { type HostLoad, loadReports } from '#gateway/relay/load-reports.ts'
import { LoadStatsRequestSchema, LoadStatsResponseSchema } from '#gen/envoy/service/load_stats/v3/lrs_pb.js'
import { Problem } from '#mesh/model/problem.ts'
import { eventually } from '#tests/support/until.ts'

const identity = { trustDomain: 'a.mesh1', namespace: 'shop', serviceAccount: 'web' }
const node = (pod: string, account = 'web') => ({
  id: `sidecar~10.0.0.1~${pod}.shop~shop.svc.cluster.local`,
  metadata: { NAMESPACE: 'shop', SERVICE_ACCOUNT: account },
})
const report = (said: object): Uint8Array =>
  toBinary(LoadStatsRequestSchema, create(LoadStatsRequestSchema, said as never))
const stats = {
  clusterStats: [
    {
      clusterName: 'outbound|80||x.shop.svc.cluster.local',
      upstreamLocalityStats: [
        { locality: { subZone: 'b' }, totalIssuedRequests: 7n, totalSuccessfulRequests: 5n, totalErrorRequests: 1n },
      ],
    },
  ],
}

type Dialled = {
  /** A message as it came; resolves once the stream listens. */
  say(message: Uint8Array): Promise<void>
  leave(): void
  /** Seconds that it was told to report in. */
  readonly told: number[]
  readonly ends: (string | undefined)[]
}

function relay(more: { readonly limits?: object; readonly strangers?: true } = {}) {
  const heard: (readonly HostLoad[])[] = []
  const gone: string[] = []
  let intervalMs = 5000
  const service = loadReports<string>({
    authenticate: async () => {
      if (more.strangers) throw new Problem('unauthenticated', 'authentication failure')
      return identity
    },
    reporterOf: ({ id }) => id,
    onReport: (_, loads) => void heard.push(loads),
    onGone: (id) => void gone.push(id),
    intervalMs: () => intervalMs,
    log: { warn: () => undefined },
    ...(more.limits ? { limits: more.limits } : {}),
  })
  const [method] = Object.values(service.methods)
  const dial = (): Dialled => {
    let take: ((message: Uint8Array) => void) | undefined
    const [told, ends, closed]: [number[], (string | undefined)[], (() => void)[]] = [[], [], []]
    const call: GrpcCall = {
      caller: { address: '10.0.0.1:4', certificate: () => undefined, values: () => [] },
      ...{ open: () => undefined, pause: () => undefined, resume: () => undefined, onEnd: () => undefined },
      onMessage: (listener) => {
        take = listener
      },
      onClose: (listener) => void closed.push(listener),
      write: ([framed], taken) => {
        const answer = fromBinary(LoadStatsResponseSchema, (framed ?? Buffer.alloc(0)).subarray(5))
        expect(answer.sendAllClusters).toBe(true)
        told.push(Number(answer.loadReportingInterval?.seconds))
        taken()
      },
      end: (problem) => {
        ends.push(problem?.kind)
        for (const listener of closed) listener()
      },
    }
    if (method?.kind === 'stream') method.serve(call)
    return {
      ...{ told, ends },
      leave: () => {
        for (const listener of closed) listener()
      },
      say: async (message) => {
        const listening = await eventually(5000, 'the stream listens or is at its end', () => take ?? ends.length > 0)
        if (typeof listening === 'function') listening(message)
      },
    }
  }
  const every = (ms: number) => {
    intervalMs = ms
    service.retime()
  }
  return { dial, heard, gone, every, streams: service.streams }
}

test('each report is heard; the node that comes with every one of them is read once', async () => {
  const { dial, heard, gone, every, streams } = relay()
  const proxy = dial()
  await proxy.say(report({ node: node('web-1') }))
  expect(proxy.told).toEqual([5])
  // Of a node that is none nothing is read any more: the stream goes on.
  await proxy.say(Buffer.concat([Buffer.from([0x0a, 3, 0xff, 0xff, 0xff]), report(stats)]))
  expect(heard).toEqual([
    [],
    [{ name: 'outbound|80||x.shop.svc.cluster.local', subZone: 'b', issued: 7, ok: 5, errors: 1, active: 0 }],
  ])
  every(20_000)
  every(20_000)
  expect([proxy.told, proxy.ends, streams()]).toEqual([[5, 20], [], 1])
  proxy.leave()
  proxy.leave()
  expect([gone, streams()]).toEqual([[node('web-1').id], 0])
})

test.each<[string, Uint8Array, string]>([
  ['a first report without a node', report(stats), 'invalid'],
  ['a node of another account', report({ node: node('web-1', 'admin') }), 'forbidden'],
  ['bytes that are no message', Buffer.from([0x0a, 0x7f, 1]), 'invalid'],
])('%s ends the stream, and nothing of it counts', async (_, message, kind) => {
  const { dial, heard, gone } = relay()
  const proxy = dial()
  await proxy.say(message)
  expect([proxy.ends, heard, gone]).toEqual([[kind], [], []])
})

test('a client that proves nothing is refused', async () => {
  const { dial, streams } = relay({ strangers: true })
  const proxy = dial()
  await eventually(5000, 'its end', () => proxy.ends.length === 1)
  expect([proxy.ends, streams()]).toEqual([['unauthenticated'], 0])
})

test('one that reports far too often is ended', async () => {
  const { dial, heard } = relay()
  const proxy = dial()
  await proxy.say(report({ node: node('web-1') }))
  for (let n = 0; n < 100 && proxy.ends.length === 0; n++) await proxy.say(report(stats))
  expect(proxy.ends).toEqual(['too-many'])
  expect(heard.length).toBeLessThan(100)
})

test('an identity has so many streams at a time, and room again when one leaves', async () => {
  const { dial } = relay({ limits: { streamsPerIdentity: 2 } })
  const proxies = [dial(), dial(), dial()]
  for (const [n, proxy] of proxies.entries()) await proxy.say(report({ node: node(`web-${n}`) }))
  expect(proxies.map(({ ends }) => ends)).toEqual([[], [], ['too-many']])
  proxies[0]?.leave()
  const another = dial()
  await another.say(report({ node: node('web-4') }))
  expect(another.ends).toEqual([])
})

test('who says nothing is not waited for', async () => {
  const { dial, streams } = relay({ limits: { firstRequestMs: 10 } })
  const proxy = dial()
  await eventually(10_000, 'its end', () => proxy.ends.length === 1)
  expect([proxy.ends, streams()]).toEqual([['unavailable'], 0])
})
