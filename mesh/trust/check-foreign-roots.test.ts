import { describe, expect, test } from 'vitest'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { checkForeignRoots } from '#mesh/trust/check-foreign-roots.ts'
import { shutInto } from '#mesh/trust/name-constraints.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { domain, keyInHand, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { ecPair, rsaPair, type SelfSigned, selfSigned } from '#tests/support/self-signed.ts'

const now = new Date()
const trustDomain = parseTrustDomain('partner.example')
const check = (ders: readonly Uint8Array[], known = {}) =>
  checkForeignRoots(ders.map((der) => toPem(der)).join('text between\n'), { now, trustDomain, ...known })
const shown = (ders: readonly Uint8Array[], known = {}): string[] =>
  check(ders, known).violations.map(({ path, reason }) => `${path}: ${reason}`)

const rsa = rsaPair()
const ec = ecPair()

describe('taken', () => {
  test.each([
    ['P-256', { key: ec }],
    ['P-384', { key: ecPair('P-384') }],
    ['RSA 2048', { key: rsa }],
    ['no keyUsage at all', { usage: 0 }],
    ['room for two below it', { pathLen: 2 }],
    ['room for one below it', { pathLen: 1 }],
    ['constraints that let its own domain through', { constraints: shutInto(trustDomain) }],
  ] satisfies [string, SelfSigned][])('%s', (_, spec) => expect(shown([selfSigned(spec)])).toEqual([]))

  test('several at once, in order, each as a PEM of its own', async () => {
    const ders = [selfSigned(), (await makeRoot()).certificate.der, selfSigned({ key: rsa })]
    const { pems, certificates, violations } = check(ders)
    expect(violations).toEqual([])
    expect(pems).toEqual(ders.map((der) => toPem(der)))
    expect(certificates.map(({ der }) => toPem(der))).toEqual(pems)
  })
})

describe('refused, and why', () => {
  test.each([
    ['ended', { notAfter: new Date(now.getTime() - 1000) }, /^ended at 20/],
    ['not begun', { notBefore: new Date(now.getTime() + 600_000) }, /^begins at 20.* in the future$/],
    ['no CA', { ca: false }, /CA:FALSE/],
    ['no room below it', { pathLen: 0 }, /path length 0/],
    ['a key that may not sign certificates', { usage: 0x80 }, /keyCertSign/],
    ['for clients only', { extendedUsage: ['1.3.6.1.5.5.7.3.2'] }, /extendedKeyUsage/],
    ['MD5', { key: rsa, digest: 'md5' }, /1\.2\.840\.113549\.1\.1\.4 is not accepted/],
    ['SHA-1', { key: rsa, digest: 'sha1' }, /1\.2\.840\.113549\.1\.1\.5 is not accepted/],
    ['SHA-1 by an elliptic curve', { digest: 'sha1' }, /1\.2\.840\.10045\.4\.1 is not accepted/],
    ['RSA 1024', { key: rsaPair(1024) }, /RSA of 1024 bits/],
    ['P-521', { key: ecPair('P-521') }, /secp521r1/],
    ['issued by another', { issuer: 'somebody' }, /only a self-signed root/],
    ['no subject', { subject: '' }, /no subject/],
    ['signed by another key of its name', { signedBy: ec.privateKey }, /not signed by its own key/],
    ['constraints that shut its own domain out', { constraints: shutInto(domain('a')) }, /shut out spiffe:\/\/partner/],
    ['an unknown critical extension', { critical: '1.2.3.4' }, /critical extension 1\.2\.3\.4/],
    ['version 1', { version: 0 }, /version/],
  ] satisfies [string, SelfSigned, RegExp][])('%s', (_, spec, reason) => {
    const { violations } = check([selfSigned(), selfSigned(spec)])
    const [first, ...more] = violations
    expect(first).toEqual({ path: 'roots[1]', reason: expect.stringMatching(reason) })
    // A certificate of version 1 cannot say that it is an authority.
    expect(more.map((one) => one.reason)).toEqual('version' in spec ? ['is no authority (CA:FALSE)'] : [])
  })

  test('a CA in the middle, though it is trusted by all who made it', async () => {
    const issuing = await makeIssuing(await makeRoot(), 'cluster-a')
    expect(shown([issuing.certificate.der])).toContainEqual(expect.stringContaining('only a self-signed root'))
  })

  test('every fault of every one, not the first alone', () => {
    const bad = { ca: false, notAfter: new Date(now.getTime() - 1000), usage: 0x80 } as const
    expect(shown([selfSigned(bad), selfSigned({ digest: 'sha1' }), selfSigned({ pathLen: 0 })])).toEqual([
      'roots[0]: is no authority (CA:FALSE)',
      expect.stringMatching(/^roots\[0\]: ended at/),
      expect.stringMatching(/^roots\[1\]: .*not accepted/),
      expect.stringMatching(/^roots\[2\]: .*path length 0/),
    ])
  })

  test('twins: one subject with two keys, one key under two subjects, one certificate twice', () => {
    const [one, sameName, sameKey] = [
      selfSigned({ subject: 'x', key: ec }),
      selfSigned({ subject: 'x' }),
      selfSigned({ subject: 'y', key: ec }),
    ]
    expect(shown([one, sameName])).toEqual(['roots[1]: has the same subject as roots[0]'])
    expect(shown([one, sameKey])).toEqual(['roots[1]: has the same key as roots[0]'])
    expect(shown([one, one])).toEqual(['roots[1]: is the same certificate as roots[0]'])
    expect(shown([one, selfSigned({ subject: 'x', key: ec })])).toEqual([
      'roots[1]: has the same key as roots[0]',
      'roots[1]: has the same subject as roots[0]',
    ])
  })

  test('what is trusted for something else already', async () => {
    const own = await makeRoot({ key: keyInHand() })
    const known = { known: [{ what: 'root 1 of mesh1', certificate: own.certificate }] }
    expect(shown([own.certificate.der], known)).toEqual(['roots[0]: is the same certificate as root 1 of mesh1'])
    const pair = { publicKey: parseCertificate(own.pem).publicKey.key, privateKey: own.key.key }
    expect(shown([selfSigned({ key: pair })], known)).toEqual(['roots[0]: has the same key as root 1 of mesh1'])
  })

  test('a text that is no list of roots', () => {
    const read = (pem: string) => () => checkForeignRoots(pem, { now, trustDomain })
    expect(read('')).toThrow(/no block/)
    expect(read(toPem(selfSigned()) + keyInHand().keyPem)).toThrow(/holds a PRIVATE KEY/)
    expect(read(toPem(selfSigned()).slice(0, 200))).toThrow(/cut off/)
    expect(read(toPem(selfSigned()).repeat(17))).toThrow(/at most 16/)
    const garbage = checkForeignRoots(toPem(Uint8Array.of(1, 2, 3)), { now, trustDomain })
    expect(garbage).toMatchObject({ certificates: [], violations: [{ path: 'roots[0]' }] })
  })
})
