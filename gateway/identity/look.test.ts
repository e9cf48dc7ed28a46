import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Caller } from '#gateway/grpc/call.ts'
import { type Look, lookService } from '#gateway/identity/look.ts'
import { tokenVerifier } from '#gateway/identity/token.ts'
import { LookAnswerSchema, LookRequestSchema } from '#gen/isthmus/proxy_pb.js'
import { latencyBoundsMs } from '#mesh/model/latency.ts'
import { jwksInHand, makeTokenIssuer, tokenIssuer } from '#tests/support/workload-tokens.ts'

const kube = makeTokenIssuer('k1')
let heard: Look[] = []
let warned: string[] = []
let proxies = 1
beforeEach(() => {
  heard = []
  warned = []
  proxies = 1
})

const clock = () => new Date()
function service() {
  const methods = lookService({
    ...{ clock, cluster: 'west', proxies: () => proxies },
    verifyToken: tokenVerifier({ issuer: tokenIssuer, jwks: jwksInHand(kube), clock }),
    issuer: { peerOf: () => expect.unreachable() },
    onLook: (look) => {
      heard.push(look)
      return 4711
    },
    log: { warn: (facts) => void warned.push(JSON.stringify(facts)) },
  })
  const [method] = Object.values(methods)
  if (method?.kind !== 'unary') throw new Error('it is one call')
  return method.answer
}
const callerWith = (token?: string): Caller => ({
  ...{ address: '10.0.0.1:1', certificate: () => undefined },
  values: (name) => (name === 'authorization' && token !== undefined ? [`Bearer ${token}`] : []),
})
const honest = callerWith(kube.token())
const request = (more: object = {}) =>
  toBinary(LookRequestSchema, create(LookRequestSchema, { serial: 'aa', controlPlaneDigest: 'dd', ...more }))

test('it says which leaf its pod holds, and hears whether to renew and when to look again', async () => {
  const answer = fromBinary(LookAnswerSchema, await service()(request(), honest))
  expect(heard).toEqual([
    { pod: 'shop/reviews-1', serial: 'aa', controlPlaneDigest: 'dd', refusals: [], callTimes: [] },
  ])
  expect(answer).toMatchObject({ renewBeforeUnixMs: 4711n, lookAgainSeconds: 5, spreadSeconds: 1 })
})

test.each([
  [100, 5, 2],
  [500, 16, 10],
  [1000, 30, 20],
  [9000, 30, 20],
])('%d proxies look every %d seconds, and renew over %d', async (count, again, spread) => {
  proxies = count
  const answer = fromBinary(LookAnswerSchema, await service()(request(), honest))
  expect([answer.lookAgainSeconds, answer.spreadSeconds]).toEqual([again, spread])
})

test('what strangers chose is clipped: 16 refusals, 300 printable characters each', async () => {
  const one = { atUnixMs: 1n, peer: 'spiffe://\n\u001b[31m'.padEnd(5000, 'x'), local: 'l', cause: 'c', count: 1 }
  await service()(request({ refusals: Array.from({ length: 40 }, () => one) }), honest)
  expect(heard[0]?.refusals).toHaveLength(16)
  expect(heard[0]?.refusals[0]?.peer).toMatch(/^spiffe:\/\/\?\?\[31mx+$/)
  expect(heard[0]?.refusals[0]?.peer).toHaveLength(300)
})

describe('how long calls took', () => {
  const counts = latencyBoundsMs.map((_, n) => n)
  const cluster = 'outbound|80||web.shop.svc.cluster.local'
  const heardOf = async (more: object) => {
    await service()(request(more), honest)
    return heard.at(-1)?.callTimes
  }
  test('is heard in the buckets that all count in, of 64 clusters', async () => {
    const boundsMs = [...latencyBoundsMs]
    expect(await heardOf({ boundsMs, callTimes: [{ cluster, counts }] })).toEqual([{ cluster, counts }])
    const many = Array.from({ length: 100 }, () => ({ cluster, counts }))
    expect(await heardOf({ boundsMs, callTimes: many })).toHaveLength(64)
  })
  test('in others it is not measured, nor with too few counts', async () => {
    const boundsMs = [...latencyBoundsMs]
    expect(await heardOf({ callTimes: [{ cluster, counts }] })).toEqual([])
    expect(await heardOf({ boundsMs: boundsMs.with(3, 6), callTimes: [{ cluster, counts }] })).toEqual([])
    expect(await heardOf({ boundsMs, callTimes: [{ cluster, counts: [1] }] })).toEqual([])
    expect(await heardOf({ boundsMs, callTimes: [{ cluster: 'x'.repeat(301), counts }] })).toEqual([])
  })
})

describe('refused', () => {
  test('without a token, or with a wrong one: one bland sentence, the reason in the log', async () => {
    const other = makeTokenIssuer('k1').token()
    for (const from of [callerWith(), callerWith(other), callerWith('x')])
      await expect(service()(request(), from)).rejects.toMatchObject({ kind: 'unauthenticated' })
    expect(warned).toHaveLength(3)
    expect(warned.join()).not.toContain(other)
    expect(heard).toEqual([])
  })

  test('too often: the rate is its own', async () => {
    const answer = service()
    for (let i = 0; i < 10; i++) await answer(request(), honest)
    await expect(answer(request(), honest)).rejects.toMatchObject({ kind: 'too-many' })
  })

  test('what is no message', async () => {
    await expect(service()(new Uint8Array([255, 255]), honest)).rejects.toMatchObject({ kind: 'invalid' })
  })
})
