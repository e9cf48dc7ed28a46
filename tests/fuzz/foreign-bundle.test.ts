import { sign, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { bitString, decode, encode, sequence } from '#mesh/trust/der.ts'
import { type ForeignBundle, readForeignBundle } from '#mesh/trust/foreign-bundle.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { shutAnchor } from '#mesh/trust/shut-anchor.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { changedTree, type TreeChange, treeChanges } from '#tests/fuzz/der-tree.ts'
import { type Change, changed, changes, fuzz, outcome, timeout } from '#tests/fuzz/fuzz.ts'
import { hasOpenssl, opensslSays } from '#tests/support/second-opinion.ts'
import { ecPair, selfSigned } from '#tests/support/self-signed.ts'

/** All is made for this moment and judged at it, so that what is kept stays what it was. */
const now = new Date('2026-06-01T00:00:00Z')
const at = now.getTime() / 1000
const trustDomain = parseTrustDomain('partner.example')
const life = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2036-01-01T00:00:00Z') }
const key = ecPair()
let root: Uint8Array
let other: Uint8Array
beforeAll(() => {
  root = selfSigned({ ...life, subject: 'partner 1', key })
  other = selfSigned({ ...life, subject: 'partner 2' })
})

const jwkOf = (der: Uint8Array) => {
  const { kty, crv, x, y } = parseCertificate(der).publicKey.key.export({ format: 'jwk' })
  return { use: 'x509-svid', kty, crv, x, y, x5c: [Buffer.from(der).toString('base64')] }
}
const bundleOf = (...keys: readonly object[]): string =>
  JSON.stringify({ keys, spiffe_sequence: 7, spiffe_refresh_hint: 300 })

/** Their root as its owner may make it: changed, and signed by itself again. */
function signedAnew(list: readonly TreeChange[]): Uint8Array {
  const next = changedTree(parseCertificate(root).tbs, list)
  const algorithm = sequence(decode(Buffer.from('06082a8648ce3d040302', 'hex'), 'algorithm'))
  const signature = new Uint8Array(sign('sha256', next, key.privateKey))
  const body = Buffer.concat([next, encode(algorithm), encode(bitString(signature))])
  return Buffer.concat([Uint8Array.of(0x30, 0x82, body.length >> 8, body.length & 0xff), body])
}

type Spec =
  | { readonly kind: 'text'; readonly pem: boolean; readonly list: readonly Change[] }
  | { readonly kind: 'root'; readonly pem: boolean; readonly list: readonly TreeChange[] }
  | { readonly kind: 'member'; readonly name: string; readonly by: unknown }

const specs: fc.Arbitrary<Spec> = fc.oneof(
  fc.record({ kind: fc.constant('text' as const), pem: fc.boolean(), list: changes() }),
  fc.record({ kind: fc.constant('root' as const), pem: fc.boolean(), list: treeChanges() }),
  fc.record({
    kind: fc.constant('member' as const),
    name: fc.constantFrom('use', 'kty', 'crv', 'x', 'x5c', 'kid', 'alg'),
    by: fc.oneof(fc.constantFrom('x509-svid', 'jwt-svid', 'sig', [], [''], null), fc.jsonValue()),
  }),
)

function build(spec: Spec): string {
  if (spec.kind === 'member') return bundleOf({ ...jwkOf(root), [spec.name]: spec.by }, jwkOf(other))
  if (spec.kind === 'text') {
    const text = spec.pem ? toPem(root) + toPem(other) : bundleOf(jwkOf(root), jwkOf(other))
    return Buffer.from(changed(Buffer.from(text), spec.list)).toString('latin1')
  }
  const der = signedAnew(spec.list)
  if (spec.pem) return toPem(der) + toPem(other)
  return bundleOf({ use: 'x509-svid', kty: 'EC', x5c: [Buffer.from(der).toString('base64')] }, jwkOf(other))
}

let taken_ = 0

/** What is taken, whole or not at all, OpenSSL takes as self-signed roots; and the anchors that relays make of them can be read. */
async function judge(inputs: readonly string[]): Promise<readonly (string | undefined)[]> {
  const read = inputs.map((text) => outcome(() => readForeignBundle(text, { now, trustDomain })))
  const faults = read.map((one) => (typeof one === 'object' && 'crash' in one ? one.crash : undefined))
  const asked = read.flatMap((one, i) => {
    const bundle = typeof one === 'object' && 'value' in one ? one.value : undefined
    if (!bundle || bundle.violations.length > 0) return []
    taken_ += 1
    faults[i] ??= unreadable(bundle)
    return bundle.pems.map((pem) => ({ i, leaf: pem, root: pem, between: '', at }))
  })
  const said = hasOpenssl() ? await opensslSays(asked, { strict: false }) : []
  for (const [k, { i }] of asked.entries())
    if (said[k] !== undefined && said[k] !== 'OK') faults[i] ??= `taken, and OpenSSL refuses it: ${said[k]}`
  return faults
}

function unreadable({ pems, certificates }: ForeignBundle): string | undefined {
  if (pems.length === 0) return 'taken, and it has no root'
  for (const [i, certificate] of certificates.entries()) {
    const theirs = new X509Certificate(pems[i] ?? '')
    if (!theirs.ca || !theirs.checkIssued(theirs)) return 'taken, and OpenSSL reads no self-signed CA in it'
    const made = outcome(() => shutAnchor(certificate, trustDomain))
    if (made === 'refused' || 'crash' in made) return 'taken, and no anchor can be made of it'
    const anchor = new X509Certificate(made.value)
    if (!anchor.publicKey.equals(theirs.publicKey) || anchor.subject !== theirs.subject)
      return 'the anchor that is made of it is another'
    parseCertificate(made.value)
  }
  return undefined
}

describe('bundles of other meshes', { timeout }, () => {
  test('any text, any root that its owner may sign: refused, or OpenSSL takes every root of it', async () => {
    await fuzz<Spec>({ kind: 'foreign-bundle', specs, build, judge })
    expect(taken_).toBeGreaterThan(0)
  })
})
