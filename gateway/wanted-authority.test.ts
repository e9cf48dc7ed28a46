import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Certificates, openCertificates } from '#gateway/certificates.ts'
import { keepCertificates } from '#gateway/keep-certificates.ts'
import { authorityOver, type Wanted } from '#gateway/wanted-authority.ts'
import { parseClusterName, parseNetworkName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { signerOf } from '#mesh/trust/check-bundle.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { controlPlaneCaNames, rootNames } from '#mesh/trust/names.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { planIssuingCa, planRelayServing } from '#mesh/trust/plan-issuing-ca.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import type { SignAnswer, SignRequest } from '#mesh/wire/join.ts'
import { domain, type Holder, makeControlPlaneCa, makeRoot, mesh } from '#tests/support/authorities.ts'
import { selfSigned } from '#tests/support/self-signed.ts'

const minute = 60_000
const start = new Date('2026-05-01T00:00:00Z')
const trustDomain = domain('cluster-a')
const home = {
  ...{ mesh, cluster: parseClusterName('cluster-a'), trustDomain },
  ...{ network: parseNetworkName('net-a'), region: 'r', gateways: [] },
}
const made = (names: ReturnType<typeof rootNames>) => ({ now: start, names })
const roots = [await makeRoot(made(rootNames(mesh, 1))), await makeRoot(made(rootNames(mesh, 2)))] as const
const planes = [
  await makeControlPlaneCa(made(controlPlaneCaNames(mesh, 1))),
  await makeControlPlaneCa(made(controlPlaneCaNames(mesh, 2))),
] as const

let ms = 0
let stateDir = ''
let wanted: Wanted = {}
let signing: { root: Holder; plane: Holder } = { root: roots[0], plane: planes[0] }
let asked: SignRequest['kind'][] = []
let certificates: Certificates
beforeEach(async () => {
  ms = 0
  wanted = {}
  signing = { root: roots[0], plane: planes[0] }
  asked = []
  stateDir = mkdtempSync(join(tmpdir(), 'wanted-'))
  const parts = { stateDir, home, ips: ['10.0.0.1'], clock: now, wanted: () => wanted, warn: () => undefined }
  certificates = await openCertificates(parts)
  await renewed()
})
afterEach(() => rmSync(stateDir, { recursive: true, force: true }))

function now(): Date {
  return new Date(start.getTime() + ms)
}

/** As the centre does. */
async function sign({ kind, csr, ips = [] }: SignRequest): Promise<SignAnswer> {
  asked.push(kind)
  const with_ = { csr, trustDomain, now: now(), serial: new Uint8Array(randomBytes(16)) }
  const issuer = kind === 'issuing' ? signing.root : signing.plane
  const plan =
    kind === 'issuing'
      ? planIssuingCa({ ...with_, mesh, issuer: issuer.certificate })
      : planRelayServing({ ...with_, issuer: issuer.certificate, dns: [], ips, reserved: [] })
  const certificate = await issueCertificate(plan, issuer.key)
  const notAfter = certificate.notAfter.getTime()
  return { chain: certificatePem(certificate), roots: [issuer.pem], notAfter, time: now().getTime() }
}

/** What a look asked the centre for. */
async function renewed(): Promise<readonly SignRequest['kind'][]> {
  asked = []
  await certificates.renew(sign)
  return asked.toSorted()
}

type States = readonly [one: 'active' | 'tainted' | undefined, two: 'published' | 'active' | undefined]
const listed = (holders: readonly Holder[], states: States) =>
  holders.flatMap(({ pem }, i) => {
    const state = states[i]
    return state === undefined ? [] : [{ pem, state }]
  })
const bundle = (root: States, plane: States = ['active', undefined]): Wanted => ({
  bundle: { roots: listed(roots, root), controlPlane: listed(planes, plane) } as unknown as TrustBundle,
})
const over = (which: 'issuing' | 'serving') => {
  const current = certificates[which].current()
  const authority = current && authorityOver(current, wanted.bundle)
  return authority && signerOf(authority)
}

test('a root that is only announced changes nothing but whom the port believes', async () => {
  wanted = bundle(['active', 'published'])
  expect(await renewed()).toEqual([])
  expect(certificates.listener()?.clientCas).toBe(roots[0].pem + roots[1].pem)
})

test('the port for proxies believes nobody of another mesh, whoever is federated', () => {
  wanted = bundle(['active', 'published'])
  const foreign = [{ trustDomain: parseTrustDomain('partner.example'), roots: [toPem(selfSigned())] }]
  wanted = { ...wanted, ...(wanted.bundle ? { bundle: { ...wanted.bundle, foreign } } : {}) }
  expect(wanted.bundle?.foreign).toHaveLength(1)
  expect(certificates.listener()?.clientCas).toBe(roots[0].pem + roots[1].pem)
})

test('another active root: a new issuing CA with a new key at once, and once; the one before stays known', async () => {
  const before = certificates.issuing.current()
  ;[wanted, signing.root] = [bundle(['tainted', 'active']), roots[1]]
  expect([await renewed(), await renewed()]).toEqual([['issuing'], []])
  expect(over('issuing')).toBe(signerOf(roots[1].certificate))
  expect(certificates.issuing.current()?.keyPem).not.toBe(before?.keyPem)
  expect(certificates.issuing.earlier().map(signerOf)).toEqual(before?.chain.map(signerOf))
  expect(certificates.listener()?.clientCas.match(/BEGIN/g)).toHaveLength(2)
})

test('two roots one after the other, within minutes', async () => {
  ;[wanted, signing.root] = [bundle(['tainted', 'active']), roots[1]]
  await renewed()
  ;[wanted, signing.root] = [bundle(['active', undefined]), roots[0]]
  expect(await renewed()).toEqual(['issuing'])
  expect(over('issuing')).toBe(signerOf(roots[0].certificate))
})

test('another active control-plane CA: a new serving certificate', async () => {
  ;[wanted, signing.plane] = [bundle(['active', undefined], ['tainted', 'active']), planes[1]]
  expect([await renewed(), await renewed()]).toEqual([['relay-serving'], []])
  expect(over('serving')).toBe(signerOf(planes[1].certificate))
})

test('an issuing CA of before what the centre asks for is renewed, one of after is not', async () => {
  ms = 10 * minute + 500
  wanted = { issuingBefore: now().getTime() }
  ms += 100
  expect([await renewed(), await renewed()]).toEqual([['issuing'], []])
})

test('a centre that certifies as before is asked again only after five minutes', async () => {
  wanted = bundle(['tainted', 'active'])
  expect([await renewed(), await renewed()]).toEqual([['issuing'], []])
  ms = 4 * minute
  expect(await renewed()).toEqual([])
  ms = 6 * minute
  expect(await renewed()).toEqual(['issuing'])
})

test('a centre with too much to do is left alone as long as it asks, give or take half of it', async () => {
  const waits: number[] = []
  for (const random of [0, 0.999]) {
    const problem = new Problem('too-many', 'later', { extra: { retryAfterSeconds: 40 } })
    const kept = keepCertificates({
      certificates: { renew: () => Promise.reject(problem), expiry: () => ({}) },
      ...{ sign, random: () => random, show: async () => true, onFatal: () => expect.unreachable() },
      log: { info: () => undefined, warn: () => undefined } as never,
      pauses: { later: (after) => void waits.push(after), ended: () => false },
    })
    await kept.first
  }
  expect(waits.map((one) => Math.round(one / 1000))).toEqual([20, 60])
})
