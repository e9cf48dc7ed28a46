import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Certificates, openCertificates } from '#gateway/certificates.ts'
import { keepCertificates } from '#gateway/keep-certificates.ts'
import { issuingEnds, lifeWarner } from '#gateway/life-left.ts'
import { parseClusterName, parseNetworkName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { certificatePem, parseCertificate } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { planIssuingCa, planRelayServing } from '#mesh/trust/plan-issuing-ca.ts'
import type { SignAnswer, SignRequest } from '#mesh/wire/join.ts'
import { domain, type Holder, makeControlPlaneCa, makeRoot, mesh } from '#tests/support/authorities.ts'

const day = 86_400_000
const start = new Date('2026-05-01T00:00:00Z').getTime()
const trustDomain = domain('cluster-a')
const home = {
  ...{ mesh, cluster: parseClusterName('cluster-a'), trustDomain },
  ...{ network: parseNetworkName('net-a'), region: 'r', gateways: [] },
}
const stepMs = day / 4

let ms = 0
let stateDir = ''
let root: Holder
let controlPlane: Holder
beforeEach(async () => {
  ms = 0
  stateDir = mkdtempSync(join(tmpdir(), 'keeping-'))
  root = await makeRoot({ now: new Date(start) })
  controlPlane = await makeControlPlaneCa({ now: new Date(start) })
})
afterEach(() => rmSync(stateDir, { recursive: true, force: true }))
const now = () => new Date(start + ms)

/** As the centre does. */
async function sign({ kind, csr, ips = [] }: SignRequest): Promise<SignAnswer> {
  const asked = { csr, trustDomain, now: now(), serial: new Uint8Array(randomBytes(16)) }
  const issuer = kind === 'issuing' ? root : controlPlane
  const plan =
    kind === 'issuing'
      ? planIssuingCa({ ...asked, mesh, issuer: issuer.certificate })
      : planRelayServing({ ...asked, issuer: issuer.certificate, dns: [], ips, reserved: [] })
  const certificate = await issueCertificate(plan, issuer.key)
  const notAfter = certificate.notAfter.getTime()
  return { chain: certificatePem(certificate), roots: [issuer.pem], notAfter, time: now().getTime() }
}

/** Keeps certificates for so many days under a clock that jumps; the centre answers when `centreUp` says so. */
async function live(days: number, centreUp: (day: number) => boolean) {
  const seen = { issuing: new Set<string>(), serving: new Set<string>() }
  const leftMin = { issuing: 1, serving: 1 }
  let closedFor = 0
  const clock = now
  const parts = { stateDir, home, ips: ['127.0.0.1'], clock, warn: () => undefined }
  const certificates: Certificates = await openCertificates(parts)
  const look = (what: 'issuing' | 'serving', pem: string) => {
    const { notBefore, notAfter } = parseCertificate(pem)
    seen[what].add(pem)
    const left = (notAfter.getTime() - now().getTime()) / (notAfter.getTime() - notBefore.getTime())
    leftMin[what] = Math.min(leftMin[what], left)
  }
  const queue: (() => void)[] = []
  const faults: unknown[] = []
  const warned: string[] = []
  const note = (_: object, text: string) => void warned.push(text)
  const warnOfEnd = lifeWarner('the issuing CA', { warn: note, error: note })
  const looked = () => new Promise<void>((resolve) => queue.push(resolve))
  let work: (() => void) | undefined
  const { first } = keepCertificates({
    ...{ certificates, log: { info: () => undefined, warn: () => undefined }, onFatal: (error) => faults.push(error) },
    sign: (request) => (centreUp(ms / day) ? sign(request) : Promise.reject(new Problem('unavailable', 'away'))),
    pauses: {
      ended: () => false,
      later: (_, next) => {
        work = next
        for (const resolve of queue.splice(0)) resolve()
      },
    },
    onFailed: () => warnOfEnd(certificates.issuing.current()?.chain[0], now()),
    show: async () => {
      const shown = certificates.listener()
      if (!shown) closedFor += 1
      else look('serving', shown.cert)
      const issuing = certificates.issuing.current()
      if (issuing) look('issuing', certificatePem(issuing.chain[0]))
      return shown !== undefined
    },
  })
  await first
  while (ms < days * day) {
    ms += stepMs
    const done = looked()
    work?.()
    await done
  }
  return { seen, leftMin, closedFor, faults, warned, certificates }
}

test('the issuing CA and the serving certificate are renewed by themselves, long before they end', async () => {
  const { seen, leftMin, closedFor, faults } = await live(100, () => true)
  expect([closedFor, faults]).toEqual([0, []])
  for (const what of ['issuing', 'serving'] as const) {
    expect(seen[what].size).toBeGreaterThan(5)
    expect(seen[what].size).toBeLessThan(10)
    expect(leftMin[what]).toBeGreaterThan(0.35)
  }
})

test('a centre that is away for ten days while both are due: served on, and renewed when it is back', async () => {
  const { seen, leftMin, closedFor } = await live(40, (at) => at < 11 || at > 21)
  expect(closedFor).toBe(0)
  for (const what of ['issuing', 'serving'] as const) {
    expect(seen[what].size).toBeGreaterThan(1)
    expect(leftMin[what]).toBeGreaterThan(0.25)
  }
})

test('a centre that answers too late: the port opens by itself with the first certificate', async () => {
  const { closedFor, seen } = await live(2, (at) => at > 1)
  expect(closedFor).toBeGreaterThan(1)
  expect(seen.serving.size).toBe(1)
})

test('a centre that is away until the issuing CA ends: warned of at 50, 25 and 10 %, and at the end, once each', async () => {
  const { warned, certificates } = await live(31, (at) => at < 1)
  expect(warned.map((text) => /\d+ %|has ended/.exec(text)?.[0])).toEqual(['50 %', '25 %', '10 %', 'has ended'])
  const issuing = certificates.issuing.current()?.chain[0]
  const reasonAt = (days: number, fault: string | undefined = 'away') =>
    issuingEnds(issuing, { now: new Date(start + days * day), fault, cluster: 'west' }).map(({ reason }) => reason)
  expect([reasonAt(5), reasonAt(16), reasonAt(24), reasonAt(28), reasonAt(31)]).toEqual([
    [],
    ['HalfLeft'],
    ['QuarterLeft'],
    ['TenPercent'],
    ['Ended'],
  ])
  expect(issuingEnds(issuing, { now: new Date(start + 16 * day), fault: undefined, cluster: 'west' })).toEqual([])
})
