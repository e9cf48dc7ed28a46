import { describe, expect, test } from 'vitest'
import type { TrustDomain } from '#mesh/model/id.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { checkPluggedCa, type PluggedFiles } from '#mesh/trust/check-plugged-ca.ts'
import { shutInto } from '#mesh/trust/name-constraints.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { domain, makeRoot } from '#tests/support/authorities.ts'
import { type Made, madeBelow, madeRoot } from '#tests/support/plugged.ts'
import { ecPair, rsaPair, type SelfSigned } from '#tests/support/self-signed.ts'

const now = new Date()
const trustDomain: TrustDomain = parseTrustDomain('cluster.mesh1')
const spkiOf = ({ key }: Made): Uint8Array => new Uint8Array(key.publicKey.export({ type: 'spki', format: 'der' }))
const check = (files: PluggedFiles, more = {}) => checkPluggedCa(files, { now, trustDomain, below: 1, ...more })
const shown = (files: PluggedFiles, more = {}): string[] =>
  check(files, more).violations.map(({ path, reason }) => `${path}: ${reason}`)

const rsa = rsaPair()
const root = madeRoot({ key: rsa })
const middle = madeBelow(root, { subject: 'middle' })
const own = madeBelow(middle, { subject: 'own', pathLen: 1 })
const whole = { 'ca-cert.pem': own.pem, 'cert-chain.pem': middle.pem, 'root-cert.pem': root.pem }
const hour = 3_600_000

describe('taken', () => {
  test.each([
    ['a root alone', { 'root-cert.pem': root.pem }, 0],
    ['a root as the CA itself', { 'ca-cert.pem': root.pem }, 0],
    ['a root twice, as Istio’s own tool writes it', { 'ca-cert.pem': root.pem, 'root-cert.pem': root.pem }, 0],
    ['a CA right below its root, no chain', { 'ca-cert.pem': middle.pem, 'root-cert.pem': root.pem }, 1],
    ['with the chain between', whole, 2],
    ['with a chain from the CA to the root', { ...whole, 'cert-chain.pem': own.pem + middle.pem + root.pem }, 2],
  ] satisfies [string, PluggedFiles, number][])('%s', (_, files, above) => {
    const { certificate, chain, violations } = check(files)
    expect(violations).toEqual([])
    expect(certificate).toBeDefined()
    expect(chain).toHaveLength(above)
    if (above > 0) expect(chain.at(-1)?.der).toEqual(parseCertificate(root.pem).der)
  })

  test('constraints that let clusters of this mesh through', () => {
    const shut = madeRoot({ constraints: { permitted: [{ kind: 'uri', text: '.mesh1' }], excluded: [] } })
    expect(shown({ 'root-cert.pem': shut.pem })).toEqual([])
  })
})

describe('one fault of the CA itself, named', () => {
  test.each([
    ['ended', { notAfter: new Date(now.getTime() - 1000) }, /^ended at 20/],
    ['not begun', { notBefore: new Date(now.getTime() + hour) }, /in the future$/],
    ['no CA', { ca: false }, /CA:FALSE/],
    ['no room for issuing CAs', { pathLen: 0 }, /path length 0: no issuing CA/],
    ['may not sign', { usage: 0x80 }, /keyCertSign/],
    ['for clients only', { extendedUsage: ['1.3.6.1.5.5.7.3.2'] }, /extendedKeyUsage/],
    ['constraints that shut this mesh out', { constraints: shutInto(domain('other')) }, /shut out spiffe:\/\/cluster/],
    ['no key identifier', { keyId: false }, /subject key identifier/],
    ['SHA-1', { digest: 'sha1' }, /1\.2\.840\.113549\.1\.1\.5 is not accepted/],
    ['MD5', { digest: 'md5' }, /1\.2\.840\.113549\.1\.1\.4 is not accepted/],
    ['RSA 1024', { key: rsaPair(1024) }, /RSA of 1024 bits/],
    ['P-521', { key: ecPair('P-521') }, /secp521r1/],
    ['an unknown critical extension', { critical: '1.2.3.4' }, /critical extension 1\.2\.3\.4/],
  ] satisfies [string, SelfSigned, RegExp][])('%s', (_, spec, reason) => {
    const { violations, certificate } = check({
      'ca-cert.pem': madeBelow(root, spec).pem,
      'root-cert.pem': root.pem,
    })
    expect(violations).toEqual([{ path: 'ca-cert.pem', reason: expect.stringMatching(reason) }])
    expect(certificate).toBeUndefined()
  })

  test('too little room above it', () => {
    const shallow = madeRoot({ pathLen: 1 })
    const files = { 'ca-cert.pem': madeBelow(shallow).pem, 'root-cert.pem': shallow.pem }
    expect(shown(files)).toEqual(['root-cert.pem: has the path length 1: 2 authorities have to stand below it'])
    expect(shown(files, { below: 0 })).toEqual([])
  })

  test('the key of another', () => {
    expect(shown(whole, { key: spkiOf(own) })).toEqual([])
    expect(shown(whole, { key: spkiOf(root) })).toEqual(['ca-key.pem: is not the key of ca-cert.pem'])
  })
})

describe('what does not belong together', () => {
  const stranger = madeRoot({ subject: 'a stranger' })

  test.each([
    ['nothing at all', {}, [/^ca-cert.pem: is missing/]],
    ['no root', { 'ca-cert.pem': own.pem }, [/^root-cert.pem: is missing: ca-cert.pem was issued/]],
    ['no chain', { ...whole, 'cert-chain.pem': '' }, [/^cert-chain.pem: it has no block/, /incomplete.*"middle"$/]],
    ['the root of others', { ...whole, 'root-cert.pem': stranger.pem }, [/^cert-chain.pem: is incomplete.*"root of/]],
    [
      'the root of others beside the right one',
      { ...whole, 'cert-chain.pem': middle.pem + root.pem, 'root-cert.pem': stranger.pem },
      [/^root-cert.pem: is not the root that ca-cert.pem leads to: that is cert-chain.pem\[1\]$/],
    ],
    [
      'a chain backwards',
      { ...whole, 'cert-chain.pem': root.pem + middle.pem + own.pem },
      [/^cert-chain.pem: is out of order/],
    ],
    [
      'something else in the chain',
      { ...whole, 'cert-chain.pem': middle.pem + stranger.pem },
      [/^cert-chain.pem\[1\]: is of no use/],
    ],
    [
      'two certificates where one is wanted',
      { ...whole, 'ca-cert.pem': own.pem + middle.pem, 'root-cert.pem': root.pem + stranger.pem },
      [/^ca-cert.pem: holds 2 certificates; one/, /^root-cert.pem: holds 2 certificates; one/],
    ],
    ['a root that is none', { 'root-cert.pem': middle.pem }, [/^root-cert.pem: was issued by another/]],
    [
      'a key in the wrong file',
      { 'root-cert.pem': `-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n` },
      [/^root-cert.pem: it holds a PRIVATE KEY/],
    ],
    ['1 MB', { 'root-cert.pem': root.pem.repeat(1000) }, [/^root-cert.pem: has \d{6,7} bytes; at most 65536$/]],
    ['no text', { 'root-cert.pem': '\u0000\u0001' }, [/^root-cert.pem: it has no block/]],
    ['cut off', { 'root-cert.pem': root.pem.slice(0, 300) }, [/cut off/]],
    ['no certificate', { 'root-cert.pem': '-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n' }, [/./]],
  ] satisfies [string, PluggedFiles, RegExp[]][])('%s', (_, files, reasons) => {
    expect(shown(files)).toEqual(reasons.map((reason) => expect.stringMatching(reason)))
  })

  test('one of its name, signed by another key', () => {
    const twin = madeRoot({ subject: 'root of a company' })
    const files = { 'ca-cert.pem': middle.pem, 'root-cert.pem': twin.pem }
    expect(shown(files)).toEqual([expect.stringMatching(/^cert-chain.pem: is incomplete/)])
  })

  test('twins: of a name, of a key, and of those that are there already', async () => {
    const sameName = madeBelow(root, { subject: 'root of a company' })
    expect(shown({ 'ca-cert.pem': sameName.pem, 'root-cert.pem': root.pem })).toContain(
      'root-cert.pem: has the same subject as ca-cert.pem',
    )
    const sameKey = madeBelow(root, { key: rsa })
    expect(shown({ 'ca-cert.pem': sameKey.pem, 'root-cert.pem': root.pem })).toEqual([
      'root-cert.pem: has the same key as ca-cert.pem',
    ])
    const there = await makeRoot()
    const known = [{ what: 'root 1 of mesh1', certificate: there.certificate }]
    expect(shown({ 'root-cert.pem': there.pem }, { known })).toEqual([
      'root-cert.pem: is the same certificate as root 1 of mesh1',
    ])
  })
})

test('every fault of every file at once', () => {
  const ended = new Date(now.getTime() - 1000)
  const badRoot = madeRoot({ notAfter: ended, pathLen: 0 })
  const bad = madeBelow(badRoot, { subject: 'x', key: rsaPair(1024), notAfter: ended, ca: false, digest: 'sha1' })
  const files = { 'ca-cert.pem': bad.pem, 'cert-chain.pem': 'x'.repeat(70_000), 'root-cert.pem': badRoot.pem }
  expect(shown(files).map((line) => line.replace(/20\d\d-.*/, 'then'))).toEqual([
    expect.stringMatching(/^ca-cert.pem: .*not accepted/),
    'ca-cert.pem: it is RSA of 1024 bits; use 2048 to 4096, or EC P-256',
    'ca-cert.pem: ended at then',
    'ca-cert.pem: is no authority (CA:FALSE)',
    'cert-chain.pem: has 70000 bytes; at most 65536',
    'root-cert.pem: ended at then',
  ])
})
