import { generateKeyPairSync, sign } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { assembleCsr, buildCsrTbs } from '#mesh/trust/csr.ts'
import { dueAt, standingAt } from '#mesh/trust/due.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { planIssuingCa, planRelayServing } from '#mesh/trust/plan-issuing-ca.ts'
import {
  csrOf,
  domain,
  type Holder,
  keyInHand,
  makeControlPlaneCa,
  makeIssuing,
  makeRoot,
  mesh,
} from '#tests/support/authorities.ts'

const now = new Date('2026-05-01T00:00:00Z')
const td = domain('cluster-a')
const serial = new Uint8Array(16).fill(5)
let root: Holder
let control: Holder
let csr: string
const key = keyInHand()
beforeAll(async () => {
  root = await makeRoot({ now })
  control = await makeControlPlaneCa({ now })
  csr = await csrOf(key)
})

const asked = (issuer: Holder) => ({ csr, trustDomain: td, issuer: issuer.certificate, now, serial })

describe('planIssuingCa', () => {
  test('the plan, signed, is a chain to the root, for 30 days', async () => {
    const certificate = await issueCertificate(planIssuingCa({ ...asked(root), mesh }), root.key)
    expect(checkChain([certificate], { roots: [root.certificate], now })).toEqual([])
    expect(certificate.notAfter).toEqual(new Date('2026-05-31T00:00:00Z'))
    expect(Buffer.from(certificate.publicKey.spki).equals(key.spki)).toBe(true)
  })

  test('another authority than a root is refused', async () => {
    const issuing = await makeIssuing(root, 'cluster-b', { now })
    expect(() => planIssuingCa({ ...asked(issuing), mesh })).toThrow(/no room/)
    expect(() => planIssuingCa({ ...asked(control), mesh })).toThrow(/no room/)
    const later = new Date(root.certificate.notAfter.getTime() + 1)
    expect(() => planIssuingCa({ ...asked(root), mesh, now: later })).toThrow(/not valid now/)
  })

  test('a P-384 key is refused: it would double every handshake', async () => {
    const wide = { ...asked(root), csr: await csrOf(keyInHand('P-384')), mesh }
    expect(() => planIssuingCa(wide)).toThrow('the key is P-384; this certificate takes P-256')
  })

  test('the signer of another key is found out before the certificate leaves', async () => {
    const plan = planIssuingCa({ ...asked(root), mesh })
    await expect(issueCertificate(plan, keyInHand())).rejects.toMatchObject({
      kind: 'internal',
      violations: [{ path: 'signature' }],
    })
  })
})

describe('planRelayServing', () => {
  const hosts = { dns: ['relay.isthmus-system.svc'], ips: ['127.21.0.1'], reserved: ['127.0.0.1', '::1'] }

  test('a relay gets its names and addresses', async () => {
    const plan = planRelayServing({ ...asked(control), ...hosts, dns: [...hosts.dns, 'istiod.istio-system.svc'] })
    const certificate = await issueCertificate(plan, control.key)
    expect(certificate.names).toHaveLength(4)
    expect(checkChain([certificate], { roots: [control.certificate], now, usage: 'serverAuth' })).toEqual([])
    expect(checkChain([certificate], { roots: [control.certificate], now, usage: 'clientAuth' })).toHaveLength(1)
  })

  test.each([
    ['the centre’s address', { ips: ['127.0.0.1'] }],
    ['the centre’s address, written otherwise', { ips: ['0:0:0:0:0:0:0:1'] }],
    ['another name', { dns: ['isthmus.example.com'] }],
    ['a wildcard', { dns: ['*'] }],
  ])('%s is refused', (_, more) => {
    expect(() => planRelayServing({ ...asked(control), ...hosts, ...more })).toThrow(/may not be certified for/)
  })

  test('an RSA key is refused', () => {
    const made = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const tbs = buildCsrTbs(new Uint8Array(made.publicKey.export({ type: 'spki', format: 'der' })))
    const forged = assembleCsr(tbs, 'ecdsa-sha256', new Uint8Array(sign('sha256', tbs, made.privateKey)))
    expect(() => planRelayServing({ ...asked(control), ...hosts, csr: forged })).toThrow(/refused/)
  })
})

describe('dates', () => {
  const from = new Date('2026-01-01T00:00:00Z')
  const to = new Date('2026-01-31T00:00:00Z')
  const at = (day: number): Date => new Date(from.getTime() + day * 86_400_000)

  test('due at half of the life, spread by a tenth of it to either side', () => {
    expect(dueAt(from, to, 0.5)).toEqual(at(15))
    expect(dueAt(from, to, 0)).toEqual(at(12))
    expect(dueAt(from, to, 1)).toEqual(at(18))
    expect(dueAt(from, to, 99)).toEqual(at(18))
  })

  test.each([
    [0, 'fresh'],
    [14.9, 'fresh'],
    [15, 'renew'],
    [22.5, 'warn'],
    [27, 'urgent'],
    [30, 'ended'],
  ] as const)('on day %d of 30 it is %s', (day, standing) => expect(standingAt(from, to, at(day))).toBe(standing))
})
