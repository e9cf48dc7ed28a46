import { describe, expect, test } from 'vitest'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { readForeignBundle } from '#mesh/trust/foreign-bundle.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { spiffeBundle } from '#mesh/trust/spiffe-bundle.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { makeRoot, mesh } from '#tests/support/authorities.ts'
import { ecPair, rsaPair, selfSigned } from '#tests/support/self-signed.ts'

const now = new Date()
const trustDomain = parseTrustDomain('partner.example')
const read = (text: string) => readForeignBundle(text, { now, trustDomain })
const der = selfSigned({ subject: 'partner root' })
const keyOf = (root: Uint8Array, more: object = {}) => {
  const { kty, crv, x, y, n, e } = parseCertificate(root).publicKey.key.export({ format: 'jwk' })
  return { use: 'x509-svid', kty, crv, x, y, n, e, x5c: [Buffer.from(root).toString('base64')], ...more }
}
const bundle = (more: object = {}) => JSON.stringify({ keys: [keyOf(der)], spiffe_sequence: 3, ...more })
const faults = (text: string): string[] => {
  try {
    return read(text).violations.map(({ path, reason }) => `${path}: ${reason}`)
  } catch (error) {
    return [`refused whole: ${(error as Error).message}`]
  }
}

describe('taken', () => {
  test('a SPIFFE bundle, with its number and its hint', () => {
    expect(read(bundle({ spiffe_refresh_hint: 600 }))).toMatchObject({
      ...{ pems: [toPem(der)], violations: [], sequence: 3, refreshSeconds: 600 },
    })
  })

  test('what our own centre gives to others', async () => {
    const root = await makeRoot()
    const at = { mesh, seq: 7, at: 1, controlPlane: [], revoked: [], denied: [], foreign: [] }
    const said = spiffeBundle({ ...at, roots: [{ pem: root.pem, state: 'active' }] })
    expect(read(JSON.stringify(said))).toMatchObject({ pems: [root.pem], violations: [], sequence: 7 })
  })

  test('PEM, which has no number; RSA 2048; two roots while theirs is rotated', () => {
    const rsa = selfSigned({ key: rsaPair() })
    const { pems, violations, sequence } = read(`# theirs\n${toPem(der)}${toPem(rsa)}`)
    expect({ pems, violations, sequence }).toEqual({
      pems: [toPem(der), toPem(rsa)],
      violations: [],
      sequence: undefined,
    })
    expect(read(bundle({ keys: [keyOf(der), keyOf(rsa)] })).pems).toHaveLength(2)
  })

  test('keys of other uses of SPIFFE are passed over', () => {
    const others = [
      { use: 'jwt-svid', kty: 'EC', kid: 'a', crv: 'P-256', x: 'x', y: 'y' },
      { use: 'wit-svid', kty: 'EC' },
    ]
    expect(read(bundle({ keys: [...others, keyOf(der)] }))).toMatchObject({ pems: [toPem(der)], violations: [] })
  })
})

describe('refused, and why', () => {
  const ended = selfSigned({ notAfter: new Date(now.getTime() - 1000) })
  const twin = ecPair()
  test.each([
    ['no JSON', '{"keys": [', /^refused whole: .*not JSON/],
    ['no object', '[]', /^refused whole: .*no object/],
    ['no keys', '{}', /no list "keys"/],
    ['an empty list', '{"keys": []}', /^keys: none of them is of use x509-svid/],
    ['only keys for JWT', '{"keys": [{"use": "jwt-svid"}]}', /^keys: none of them/],
    ['a key that is no object', bundle({ keys: [7] }), /^keys\[0\]: is no object/],
    ['no use', bundle({ keys: [keyOf(der, { use: undefined })] }), /^keys\[0\]\.use: is missing/],
    ['another use', bundle({ keys: [keyOf(der), keyOf(der, { use: 'sig' })] }), /^keys\[1\]\.use: is "sig"/],
    ['no certificate', bundle({ keys: [keyOf(der, { x5c: undefined })] }), /^keys\[0\]\.x5c: is missing/],
    ['a chain', bundle({ keys: [keyOf(der, { x5c: ['a', 'b'] })] }), /^keys\[0\]\.x5c: holds 2/],
    ['base64 of URLs', bundle({ keys: [keyOf(der, { x5c: ['-_-_'] })] }), /^keys\[0\]\.x5c\[0\]: is not base64/],
    ['no certificate in it', bundle({ keys: [keyOf(der, { x5c: ['aGVsbG8='] })] }), /^keys\[0\]: /],
    ['the key of another', bundle({ keys: [{ ...keyOf(selfSigned()), x5c: keyOf(der).x5c }] }), /is not that of its/],
    ['no kty', bundle({ keys: [keyOf(der, { kty: undefined })] }), /^keys\[0\]\.kty: is not that/],
    ['ended', bundle({ keys: [keyOf(ended)] }), /^keys\[0\]: ended at/],
    ['no CA', bundle({ keys: [keyOf(selfSigned({ ca: false }))] }), /^keys\[0\]: is no authority/],
    [
      'twins',
      bundle({ keys: [selfSigned({ key: twin }), selfSigned({ key: twin })].map((one) => keyOf(one)) }),
      /^keys\[1\]: has the same key as keys\[0\]/,
    ],
    ['a number below nothing', bundle({ spiffe_sequence: -1 }), /^spiffe_sequence: is no whole number/],
    ['a number as text', bundle({ spiffe_sequence: '4' }), /^spiffe_sequence: is no whole number/],
    ['a hint of nothing', bundle({ spiffe_refresh_hint: 0 }), /^spiffe_refresh_hint: is no whole number from 1/],
    ['half a second', bundle({ spiffe_refresh_hint: 0.5 }), /^spiffe_refresh_hint/],
    ['seventeen', bundle({ keys: Array.from({ length: 17 }, () => keyOf(der)) }), /17 roots; at most 16/],
    ['a quarter of a megabyte of faults', `{"keys": [${'1,'.repeat(100_000)}1]}`, /100001 keys; at most 256/],
    ['one megabyte', `{"keys": [], "x": "${'x'.repeat(1 << 20)}"}`, /bytes; at most 262144/],
    ['a megabyte of brackets', '['.repeat(200_000), /^refused whole: .*not JSON/],
    ['nothing', '', /^refused whole: .*no block/],
  ])('%s', (_, text, reason) => expect(faults(text)).toContainEqual(expect.stringMatching(reason)))

  test('every fault at once', () => {
    const keys = [keyOf(der, { use: 'sig' }), keyOf(ended), keyOf(der, { kty: 'RSA' })]
    expect(faults(bundle({ keys, spiffe_sequence: 1.5 }))).toEqual([
      expect.stringMatching(/^keys\[0\]\.use/),
      expect.stringMatching(/^keys\[1\]: ended/),
      expect.stringMatching(/^keys\[2\]\.kty/),
      expect.stringMatching(/^spiffe_sequence/),
    ])
  })
})
