import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { assembleCertificate, buildTbs } from '#mesh/trust/build-certificate.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import { shutInto } from '#mesh/trust/name-constraints.ts'
import { identityNames, issuingCaNames, relayServingNames, rootNames } from '#mesh/trust/names.ts'
import { type ProfileName, profileOf, profiles } from '#mesh/trust/profile.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import {
  domain,
  type Holder,
  keyInHand,
  make,
  makeControlPlaneCa,
  makeIssuing,
  makeRoot,
  mesh,
} from '#tests/support/authorities.ts'
import { type Crooked, crooked } from '#tests/support/crooked.ts'

const td = domain('cluster-a')
const names = identityNames(spiffeId(td, 'shop', 'reviews'))
const now = new Date()
const day = 86_400_000
let root: Holder
let issuing: Holder
let control: Holder
beforeAll(async () => {
  root = await makeRoot({ now })
  issuing = await makeIssuing(root, 'cluster-a', { now })
  control = await makeControlPlaneCa({ now })
})

describe('lives', () => {
  test.each([
    ['root', 3650],
    ['issuing-ca', 30],
    ['control-plane-ca', 1825],
    ['relay-serving', 30],
    ['centre-serving', 30],
    ['workload', 1],
    ['gateway', 1],
    ['relay-client', 1],
  ] as const)('%s: %i days', (profile, days) => expect(profileOf(profile).lifeSecondsMax).toBe((days * day) / 1000))

  test('begins five minutes ago, ends a day from now, at whole seconds', async () => {
    const { certificate } = await make({ profile: 'workload', names, by: issuing, now })
    const second = Math.floor(now.getTime() / 1000) * 1000
    expect(certificate.notBefore.getTime()).toBe(second - 300_000)
    expect(certificate.notAfter.getTime()).toBe(second + day)
  })

  test('an asked life shortens and never lengthens', async () => {
    const short = await make({ profile: 'workload', names, by: issuing, now, lifeSeconds: 60 })
    const long = await make({ profile: 'workload', names, by: issuing, now, lifeSeconds: 1e9 })
    expect(short.certificate.notAfter.getTime() - now.getTime()).toBeLessThanOrEqual(60_000)
    expect(long.certificate.notAfter.getTime() - now.getTime()).toBeLessThanOrEqual(day)
  })

  test('nothing outlives its issuer, and an issuer that ended signs nothing', async () => {
    const late = new Date(issuing.certificate.notAfter.getTime() - 3_600_000)
    const { certificate } = await make({ profile: 'workload', names, by: issuing, now: late })
    expect(certificate.notAfter).toEqual(issuing.certificate.notAfter)
    const after = make({ profile: 'workload', names, by: issuing, now: issuing.certificate.notAfter })
    await expect(after).rejects.toMatchObject({ kind: 'conflict' })
  })
})

describe('what each profile holds', () => {
  test('the issuing CA is shut into its trust domain in exactly the measured shape', () => {
    expect(issuing.certificate.nameConstraints).toEqual(shutInto(td))
    expect(shutInto(td)).toEqual({
      permitted: [
        { kind: 'uri', text: 'cluster-a.mesh1' },
        { kind: 'email', text: 'none.invalid' },
      ],
      excluded: [
        { kind: 'dns', text: '' },
        { kind: 'ip', bytes: new Uint8Array(8) },
        { kind: 'ip', bytes: new Uint8Array(32) },
      ],
    })
    expect(issuing.certificate).toMatchObject({ ca: true, pathLen: 0, usage: ['keyCertSign', 'cRLSign'] })
    expect(issuing.certificate.extensions.get('2.5.29.30')).toEqual({ critical: true })
  })

  test('a workload holds one critical URI, an empty subject, a key for signing only', async () => {
    const { certificate } = await make({ profile: 'workload', names, by: issuing, now })
    expect(certificate).toMatchObject({ ca: false, usage: ['digitalSignature'], attributes: [] })
    expect(certificate.names).toEqual([{ kind: 'uri', text: 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' }])
    expect(certificate.extensions.get('2.5.29.17')).toEqual({ critical: true })
    expect(certificate.serial.length).toBeGreaterThanOrEqual(15)
  })

  test('a relay’s serving certificate says whose relay it is', async () => {
    const serving = relayServingNames(td, { asIstiod: true, ips: ['127.21.0.1'] })
    const { certificate } = await make({ profile: 'relay-serving', names: serving, by: control, now })
    expect(certificate.extendedUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(certificate.names).toEqual([
      { kind: 'uri', text: 'spiffe://cluster-a.mesh1/ns/isthmus-system/sa/relay' },
      { kind: 'dns', text: 'relay.isthmus-system.svc' },
      { kind: 'dns', text: 'istiod.istio-system.svc' },
      { kind: 'ip', bytes: Uint8Array.of(127, 21, 0, 1) },
    ])
  })
})

describe('checkCertificate', () => {
  test('a certificate of one profile passes for no other, but a gateway’s is a workload’s', async () => {
    const made = {
      root,
      'issuing-ca': issuing,
      'control-plane-ca': control,
      workload: await make({ profile: 'workload', names, by: issuing, now }),
    }
    for (const [name, holder] of Object.entries(made)) {
      const passes = (Object.keys(profiles) as ProfileName[]).filter((profile) => {
        const subject = { root: rootNames(mesh, 1), 'issuing-ca': issuingCaNames(mesh, td) }[name]
        const expected = name === 'workload' ? names : (subject ?? rootNames(mesh, 1))
        return checkCertificate(holder.pem, profile, { names: expected, now }).length === 0
      })
      const alike: Record<string, string[]> = { workload: ['workload', 'gateway'], 'control-plane-ca': [] }
      expect(passes, name).toEqual(alike[name] ?? [name])
    }
  })

  const uri = 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews'
  test.each([
    ['another account', { names: [{ uri: 'spiffe://cluster-a.mesh1/ns/shop/sa/ratings' }] }, 'subjectAltName'],
    ['two URIs', { names: [{ uri }, { uri: 'spiffe://cluster-a.mesh1/ns/a/sa/b' }] }, 'subjectAltName'],
    ['the same URI twice', { names: [{ uri }, { uri }] }, 'subjectAltName'],
    ['a DNS name beside it', { names: [{ uri }, { dns: 'x' }] }, 'subjectAltName'],
    ['an otherName beside it', { names: [{ uri }, { other: 'x' }] }, 'subjectAltName'],
    ['a directory name beside it', { names: [{ uri }, { directory: 'x' }] }, 'subjectAltName'],
    ['no name at all', { names: [] }, 'subjectAltName'],
    ['names not critical', { names: [{ uri }], namesCritical: false }, 'extensions'],
    ['a subject', { names: [{ uri }], subject: 'x', namesCritical: true }, 'subject'],
    ['an authority', { names: [{ uri }], ca: {}, usage: 0x80 }, 'basicConstraints'],
    ['the right to sign certificates', { names: [{ uri }], usage: 0x84 }, 'keyUsage'],
    ['no extended usage', { names: [{ uri }], extendedUsage: [] }, 'extendedKeyUsage'],
    ['one extended usage', { names: [{ uri }], extendedUsage: ['clientAuth'] }, 'extendedKeyUsage'],
    ['an extension nobody asked for', { names: [{ uri }], more: [{ id: '1.2.3', critical: false }] }, 'extensions'],
    ['a life of two days', { names: [{ uri }], notAfter: new Date(now.getTime() + 2 * day) }, 'notAfter'],
    ['an end past its issuer', { names: [{ uri }], notAfter: new Date(now.getTime() + 40 * day) }, 'notAfter'],
    ['a beginning in the future', { names: [{ uri }], notBefore: new Date(now.getTime() + 60_000) }, 'notBefore'],
    ['a short serial', { names: [{ uri }], serial: Uint8Array.of(1, 2) }, 'serialNumber'],
  ] as const satisfies [string, Crooked, string][])('%s is refused', async (_, spec, path) => {
    const { der } = await crooked(spec, issuing)
    const violations = checkCertificate(der, 'workload', { names, now, issuer: issuing.certificate })
    expect(violations.map((violation) => violation.path)).toContain(path)
  })

  test('another key, another issuer, another signature, and no certificate at all', async () => {
    const { certificate, key } = await make({ profile: 'workload', names, by: issuing, now })
    const expected = { names, now, publicKey: key.spki, issuer: issuing.certificate }
    expect(checkCertificate(certificate, 'workload', expected)).toEqual([])
    const otherKey = checkCertificate(certificate, 'workload', { ...expected, publicKey: keyInHand().spki })
    expect(otherKey).toEqual([{ path: 'publicKey', reason: 'is not the key it was asked for' }])
    const twin = await makeIssuing(root, 'cluster-a', { now })
    const paths = checkCertificate(certificate, 'workload', { ...expected, issuer: twin.certificate }).map(
      (v) => v.path,
    )
    expect(paths).toEqual(['authorityKeyIdentifier', 'signature'])
    expect(checkCertificate('hello', 'workload', expected)).toMatchObject([{ path: 'certificate' }])
  })

  test('a constraint that is not the accepted shape', async () => {
    const open = { permitted: [{ kind: 'uri', text: 'cluster-a.mesh1' }], excluded: [] } as const
    const wide = {
      ...shutInto(td),
      permitted: [...shutInto(td).permitted, { kind: 'uri', text: 'cluster-b.mesh1' }],
    } as const
    for (const constraints of [undefined, open, wide, shutInto(domain('cluster-b'))]) {
      const ca = { pathLen: 0, ...(constraints ? { constraints } : {}) }
      const { der } = await crooked({ ca, subject: 'x', names: [{ uri: 'spiffe://cluster-a.mesh1' }] }, root)
      const expected = { names: issuingCaNames(mesh, td), now, issuer: root.certificate }
      const paths = checkCertificate(der, 'issuing-ca', expected).map((violation) => violation.path)
      expect(paths).toContain('nameConstraints')
    }
  })
})

describe('buildTbs', () => {
  const key = keyInHand()
  const request = (more: object) =>
    ({
      profile: 'workload',
      names,
      publicKey: key.spki,
      issuer: issuing.certificate,
      signature: 'ecdsa-sha256',
      now,
      serial: new Uint8Array(randomBytes(16)),
      ...more,
    }) as const

  test('equal input gives equal bytes, another serial other bytes', () => {
    const serial = new Uint8Array(16).fill(200)
    expect(buildTbs(request({ serial }))).toEqual(buildTbs(request({ serial })))
    expect(buildTbs(request({ serial }))).not.toEqual(buildTbs(request({ serial: new Uint8Array(16).fill(201) })))
  })

  test.each([0x00, 0x01, 0x7f, 0x80, 0xff])(
    'a serial that begins with %i is kept whole and positive',
    async (first) => {
      const serial = new Uint8Array(16).fill(0xab)
      serial[0] = first
      const tbs = buildTbs(request({ serial }))
      const read = parseCertificate(assembleCertificate(tbs, 'ecdsa-sha256', await issuing.key.sign(tbs)))
      expect(Buffer.from(read.serial).toString('hex')).toBe(
        Buffer.from(first === 0 ? serial.subarray(1) : serial).toString('hex'),
      )
    },
  )

  test.each([
    ['a serial of 15 bytes', { serial: new Uint8Array(15).fill(1) }],
    ['a serial of zeros', { serial: new Uint8Array(16) }],
    ['no life', { lifeSeconds: 0 }],
    ['a life that is no number', { lifeSeconds: Number.NaN }],
    ['a subject where none belongs', { names: { ...names, subject: { organization: 'a', commonName: 'b' } } }],
  ])('%s is our own fault', (_, more) => {
    expect(() => buildTbs(request(more))).toThrow(/cannot be built/)
  })

  test('a date past 2049 reads back', async () => {
    const far = new Date('2055-06-07T08:09:10Z')
    const old = await makeRoot({ now: far })
    expect(old.certificate.notBefore).toEqual(new Date('2055-06-07T08:04:10Z'))
  })
})
