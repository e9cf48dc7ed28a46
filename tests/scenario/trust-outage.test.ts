import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openCertificates } from '#gateway/certificates.ts'
import type { Caller } from '#gateway/grpc/call.ts'
import { certificateService } from '#gateway/identity/csr.ts'
import { createIssuer } from '#gateway/identity/issuer.ts'
import { tokenVerifier } from '#gateway/identity/token.ts'
import { openIssued } from '#gateway/issued.ts'
import { keepCertificates } from '#gateway/keep-certificates.ts'
import type { Identity } from '#gateway/proxy/check-certificate.ts'
import { type Clock, keepCertificate } from '#gateway/proxy/keep-certificate.ts'
import { openRefusals } from '#gateway/refusals.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '#gen/istio/ca_pb.js'
import type { ClusterName, MeshName, NetworkName, TrustDomain } from '#mesh/model/id.ts'
import { joinMember, startTestCentre, type TestCentre, type TestMember } from '#tests/support/channel.ts'
import { honestClaims, jwksInHand, makeTokenIssuer, tokenIssuer } from '#tests/support/workload-tokens.ts'

// Centre, relay and proxies under one clock that the test holds. What the centre says comes over its real door; leaves are
// asked for in this process.

const [minute, hour] = [60_000, 3_600_000]
const proxies = 100
const began = Date.now()
let ms = 0
const now = () => new Date(began + ms)

type Timer = { readonly at: number; readonly run: () => void }
const timers = new Set<Timer>()
let underWay = 0

/** Counts what is under way, so that the clock stands still meanwhile. */
async function during<T>(work: Promise<T>): Promise<T> {
  underWay++
  return work.finally(() => underWay--)
}

async function settle(): Promise<void> {
  for (let quiet = 0; quiet < 5; quiet = underWay === 0 ? quiet + 1 : 0) await setImmediate()
}

/** Lets time pass: every timer at its moment, in order. */
async function advance(by: number): Promise<void> {
  const end = ms + by
  for (;;) {
    await settle()
    const due = [...timers].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)
    const at = due[0]?.at
    if (at === undefined) break
    ms = Math.max(ms, at)
    for (const timer of due.filter((one) => one.at === at)) {
      timers.delete(timer)
      timer.run()
    }
  }
  ms = end
}

function later(after: number, run: () => void): Timer {
  const timer = { at: Math.ceil(ms + after), run }
  timers.add(timer)
  return timer
}

let centre: TestCentre
let member: TestMember
const stateDir = mkdtempSync(join(tmpdir(), 'outage-'))
beforeAll(async () => {
  centre = await startTestCentre({ now: () => began + ms })
  member = await joinMember(centre, 'west', { now: () => began + ms })
}, 60_000)
afterAll(async () => {
  member?.end()
  await centre?.end()
  rmSync(stateDir, { recursive: true, force: true })
})

test('twelve hours without the centre: a hundred proxies renew, and no renewal fails', async () => {
  const kube = makeTokenIssuer('k1', { now })
  const trustDomain = 'west.mesh1' as TrustDomain
  const home = {
    ...{ mesh: 'mesh1' as MeshName, cluster: 'west' as ClusterName, network: 'n' as NetworkName, region: 'r' },
    ...{ trustDomain, gateways: [] },
  }
  const warned: string[] = []
  const warn = (text: string) => void warned.push(text)
  const log = {
    info: () => undefined,
    warn: (_: object, text: string) => warn(text),
    error: (_: object, text: string) => warn(text),
  }
  const certificates = await openCertificates({ stateDir, home, ips: ['10.0.0.1'], clock: now, warn })
  const kept = keepCertificates({
    ...{ certificates, log: log as never, show: async () => certificates.listener() !== undefined },
    sign: (request) => during(member.uplink().sign(request)),
    pauses: { later, ended: () => false },
    onFatal: (error) => warn(String(error)),
  })
  await kept.first
  const issued = openIssued({
    ...{ stateDir, trustDomain, issuing: certificates.issuing, wanted: () => ({}), clock: now, warn },
    ...{ refusals: openRefusals(), onNews: () => undefined },
  })
  const issuer = createIssuer({
    ...{ key: certificates.issuing, trustDomain, clock: now },
    random: (n) => crypto.getRandomValues(new Uint8Array(n)),
  })
  const verifyToken = tokenVerifier({ issuer: tokenIssuer, jwks: jwksInHand(kube), clock: now })
  const known = { issuer, verifyToken, clock: now, cluster: 'west', log }
  const { methods } = certificateService({ ...known, checkKey: issued.checkKey, onIssued: issued.onIssued })
  const [method] = Object.values(methods)
  if (method?.kind !== 'unary') throw new Error('it is one call')

  const ending = new AbortController()
  const clock: Clock = {
    now,
    random: Math.random,
    wait: (after, signal) =>
      new Promise((done) => {
        const timer = later(after, () => {
          signal.removeEventListener('abort', end)
          done()
        })
        const end = () => {
          timers.delete(timer)
          done()
        }
        signal.addEventListener('abort', end)
      }),
  }
  const held = new Map<number, Identity>()
  const counts = { issued: 0, failed: 0 }
  const running = Array.from({ length: proxies }, (_, i) => {
    const token = () => {
      const claims = honestClaims(now())
      const pod = { name: `reviews-${i}`, uid: `pod-${i}` }
      return kube.token({ 'kubernetes.io': { ...claims['kubernetes.io'], pod } })
    }
    const from: Caller = {
      ...{ address: '127.0.0.1:1', certificate: () => undefined },
      values: (name) => (name === 'authorization' ? [`Bearer ${token()}`] : []),
    }
    return keepCertificate({
      ...{ uri: () => `spiffe://${trustDomain}/ns/shop/sa/reviews`, clock, log: log as never, signal: ending.signal },
      request: async (csr) => {
        const request = create(IstioCertificateRequestSchema, { csr, validityDuration: 86_400n })
        const answer = await during(method.answer(toBinary(IstioCertificateRequestSchema, request), from))
        return fromBinary(IstioCertificateResponseSchema, answer).certChain
      },
      use: (identity) => void held.set(i, identity),
      count: (result) => void counts[result]++,
    })
  })
  await advance(6 * hour)
  expect([held.size, counts]).toEqual([proxies, { issued: proxies, failed: 0 }])

  centre.line.fault({ refuse: true })
  centre.line.cut()
  const serials = new Map([...held].map(([i, { serial }]) => [i, serial]))
  for (let step = 0; step < 72; step++) {
    await advance(10 * minute)
    for (const { notAfter } of held.values()) expect(notAfter.getTime()).toBeGreaterThan(now().getTime())
  }
  expect(counts).toEqual({ issued: 2 * proxies, failed: 0 })
  for (const [i, { serial }] of held) expect(serial).not.toBe(serials.get(i))
  expect(warned).toEqual([])
  ending.abort()
  await Promise.all(running)
  issued.close()
}, 60_000)
