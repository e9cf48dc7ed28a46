import { randomBytes, sign } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { Problem } from '#mesh/model/problem.ts'
import { assembleCsr, buildCsrTbs, parseCsr } from '#mesh/trust/csr.ts'
import {
  bitString,
  type Der,
  decode,
  encode,
  octets,
  oid,
  sequence,
  setOf,
  tagged,
  unsigned,
  utf8,
  yes,
} from '#mesh/trust/der.ts'
import { buildGeneralName } from '#mesh/trust/general-name.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { buildNameConstraints, shutInto } from '#mesh/trust/name-constraints.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { oids } from '#mesh/trust/oid.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { planIssuingCa } from '#mesh/trust/plan-issuing-ca.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { csrOf, domain, type Holder, keyInHand, makeIssuing, makeRoot, mesh } from '#tests/support/authorities.ts'
import { ecPair, rsaPair } from '#tests/support/self-signed.ts'

const now = new Date()
const key = keyInHand()
const serial = () => new Uint8Array(randomBytes(16))
let root: Holder
let issuing: Holder
beforeAll(async () => {
  root = await makeRoot({ now })
  issuing = await makeIssuing(root, 'cluster-a', { now })
})

const extension = (id: string, critical: boolean, value: Der): Der =>
  sequence(oid(id), ...(critical ? [yes()] : []), octets(encode(value)))
const subjectOf = (text: string): Der => sequence(setOf(sequence(oid(oids.commonName), utf8(text))))
const uri = (text: string): Der => buildGeneralName({ kind: 'uri', text })

/** A request of `key` that asks for more than its key to be certified, PEM. */
function greedy(extensions: readonly Der[], subject: Der = sequence()): string {
  const asked = sequence(oid('1.2.840.113549.1.9.14'), setOf(sequence(...extensions)))
  const tbs = encode(sequence(unsigned(Uint8Array.of(0)), subject, decode(key.spki, 'key'), tagged(0, [asked])))
  return assembleCsr(tbs, 'ecdsa-sha256', new Uint8Array(sign('sha256', tbs, key.key)))
}

/** Of a request its key counts, and nothing else. */
describe('a request that asks for more', () => {
  const more: readonly [string, string][] = [
    ['to be a CA', greedy([extension(oids.basicConstraints, true, sequence(yes()))])],
    ['to sign certificates', greedy([extension(oids.keyUsage, true, bitString(Uint8Array.of(0x06), 1))])],
    [
      'the id of another cluster',
      greedy([extension(oids.subjectAltName, true, sequence(uri('spiffe://cluster-b.mesh1/ns/a/sa/b')))]),
    ],
    [
      'istiod’s name',
      greedy([
        extension(
          oids.subjectAltName,
          false,
          sequence(buildGeneralName({ kind: 'dns', text: 'istiod.istio-system.svc' })),
        ),
      ]),
    ],
    ['another subject', greedy([], subjectOf('root 1 of mesh1'))],
    [
      'constraints of its own',
      greedy([extension(oids.nameConstraints, true, buildNameConstraints(shutInto(domain('cluster-b'))))]),
    ],
    ['what nobody knows', greedy([extension('1.2.3.4', true, utf8('x'))], subjectOf('x'.repeat(4000)))],
  ]

  test.each(more)('%s: a workload gets what its token says', async (_, csr) => {
    const { spki } = parseCsr(csr)
    expect(Buffer.from(spki).equals(key.spki)).toBe(true)
    const names = identityNames(spiffeId(domain('cluster-a'), 'shop', 'reviews'))
    const request = {
      profile: 'workload',
      names,
      publicKey: spki,
      issuer: issuing.certificate,
      now,
      serial: serial(),
    } as const
    const made = await issueCertificate(request, issuing.key)
    expect(made.names).toEqual([{ kind: 'uri', text: 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews' }])
    expect(made).toMatchObject({ ca: false, attributes: [], usage: ['digitalSignature'], nameConstraints: undefined })
    expect([...made.extensions.keys()]).not.toContain('1.2.3.4')
  })

  test.each(more)('%s: a cluster gets a CA of its own trust domain', async (_, csr) => {
    const plan = planIssuingCa({
      csr,
      trustDomain: domain('cluster-a'),
      issuer: root.certificate,
      now,
      serial: serial(),
      mesh,
    })
    const made = await issueCertificate(plan, root.key)
    expect(made.names).toEqual([{ kind: 'uri', text: 'spiffe://cluster-a.mesh1' }])
    expect(made).toMatchObject({ ca: true, pathLen: 0, nameConstraints: issuing.certificate.nameConstraints })
    expect(made.subject).toEqual(issuing.certificate.subject)
  })
})

/** Every kind of bad request by its name. More of each in `parsers.test.ts`, by chance in `tests/fuzz`. */
describe('a bad request', () => {
  const signedBy = (spki: Uint8Array, by = key.key, digest = 'sha256'): string => {
    const tbs = buildCsrTbs(spki)
    return assembleCsr(tbs, 'ecdsa-sha256', new Uint8Array(sign(digest, tbs, by)))
  }
  const spkiOf = (pair: ReturnType<typeof ecPair>) =>
    new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' }))

  const bad: readonly [string, () => Promise<string>, RegExp][] = [
    ['malformed', async () => 'hello', /no block/],
    ['malformed inside', async () => toPem(Uint8Array.of(0x30, 3, 1, 2), 'CERTIFICATE REQUEST'), /not DER/],
    [
      'a certificate',
      async () => toPem(issuing.certificate.der, 'CERTIFICATE REQUEST'),
      /cannot be read|not a PKCS#10/,
    ],
    ['cut off', async () => (await csrOf(key)).slice(0, 150), /cut off/],
    ['wrong signature', async () => signedBy(key.spki, keyInHand().key), /does not prove that it holds/],
    ['a signature over something else', async () => signedBy(key.spki, key.key, 'sha384'), /does not prove/],
    ['weak', async () => signedBy(spkiOf(rsaPair(1024))), /RSA of 1024 bits/],
    ['wrong curve', async () => signedBy(spkiOf(ecPair('P-521'))), /secp521r1/],
    ['another wrong curve', async () => signedBy(spkiOf(ecPair('secp256k1'))), /secp256k1/],
    ['1 MB', async () => `${await csrOf(key)}${' '.repeat(1_000_000)}`, /1000\d{3} bytes; at most 16384/],
    ['1 MB before its block', async () => `${'\n'.repeat(1_000_000)}${await csrOf(key)}`, /at most 16384/],
    ['two of them', async () => (await csrOf(key)).repeat(2), /more than one/],
    ['a private key beside it', async () => `${await csrOf(key)}${key.keyPem}`, /holds a PRIVATE KEY/],
  ]

  test.each(bad)('%s: refused, and nothing of it is quoted', async (_, make, reason) => {
    const csr = await make()
    const fault = faultOf(csr)
    expect(fault).toBeInstanceOf(Problem)
    if (!(fault instanceof Problem)) return
    expect(fault.kind).toBe('invalid')
    expect(fault.message).toMatch(reason)
    expect(fault.message.length).toBeLessThan(300)
    expect(fault.message).not.toContain(key.keyPem.slice(40, 60))
  })
})

function faultOf(csr: string): unknown {
  try {
    return parseCsr(csr)
  } catch (error) {
    return error
  }
}
