import type { Violation } from '#mesh/model/problem.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Certificate, parseCertificate, same, verifyKeyOf } from '#mesh/trust/certificate.ts'
import { encode } from '#mesh/trust/der.ts'
import { type GeneralName, ipBytes } from '#mesh/trust/general-name.ts'
import { buildNameConstraints, shutInto } from '#mesh/trust/name-constraints.ts'
import type { CertificateNames } from '#mesh/trust/names.ts'
import { extendedUsages, oids } from '#mesh/trust/oid.ts'
import { backdateSeconds, type Profile, type ProfileName, profileOf } from '#mesh/trust/profile.ts'
import { isSignedBy, keyIdOf } from '#mesh/trust/public-key.ts'
import { parseSpiffeId, parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

/** What a certificate is expected to say, beyond what its profile says of all of its kind. */
export type Expectations = {
  readonly names: CertificateNames
  readonly now: Date
  /** The key it was asked for, SubjectPublicKeyInfo DER. */
  readonly publicKey?: Uint8Array
  /** Its issuer's certificate; `self` for one that signs itself. Where given, link and signature are checked. */
  readonly issuer?: Certificate | 'self'
}

/**
 * Reads a certificate back and compares it with its profile's row, field by field. No violations: it holds exactly what
 * the row and `expected` ask, and nothing else. Bytes that do not read as a certificate are one violation; never throws.
 *
 * Every certificate passes here between its signing and its first use, and again when it comes from outside.
 */
export function checkCertificate(
  input: string | Uint8Array | Certificate,
  profileName: ProfileName,
  expected: Expectations,
): readonly Violation[] {
  let certificate: Certificate
  try {
    certificate = typeof input === 'string' || input instanceof Uint8Array ? parseCertificate(input) : input
  } catch (error) {
    return [{ path: 'certificate', reason: error instanceof Problem ? error.message : 'it cannot be read' }]
  }
  const profile = profileOf(profileName)
  return [
    ...validityFaults(certificate, profile, expected),
    ...keyFaults(certificate, profile, expected),
    ...subjectFaults(certificate, profile, expected.names),
    ...alternativeNameFaults(certificate, profile, expected.names),
    ...authorityFaults(certificate, profile),
    ...constraintFaults(certificate, profile, expected.names),
    ...extensionFaults(certificate, profile),
    ...issuerFaults(certificate, expected.issuer),
  ]
}

const when = (fault: boolean, path: string, reason: string): Violation[] => (fault ? [{ path, reason }] : [])

function validityFaults(certificate: Certificate, profile: Profile, { now, issuer }: Expectations): Violation[] {
  const { notBefore, notAfter } = certificate
  const lifeSeconds = (notAfter.getTime() - notBefore.getTime()) / 1000 - backdateSeconds
  const outlives = issuer !== undefined && issuer !== 'self' && notAfter > issuer.notAfter
  return [
    ...(notBefore > now ? [{ path: 'notBefore', reason: `begins at ${notBefore.toISOString()}, in the future` }] : []),
    ...(notAfter <= now ? [{ path: 'notAfter', reason: `ended at ${notAfter.toISOString()}` }] : []),
    ...when(lifeSeconds > profile.lifeSecondsMax, 'notAfter', `lives for more than ${profile.lifeSecondsMax} s`),
    ...when(outlives, 'notAfter', 'outlives its issuer'),
  ]
}

function keyFaults(certificate: Certificate, profile: Profile, { publicKey }: Expectations): Violation[] {
  const { kind, spki } = certificate.publicKey
  // A root may have been brought along, and those are often RSA; the reader takes it with SHA-2 only.
  const isOurs = profile.issuedBy === 'root' || certificate.signatureAlgorithm.startsWith('ecdsa-')
  return [
    ...when(!profile.keys.includes(kind), 'publicKey', `is ${kind}; this profile takes ${profile.keys.join(', ')}`),
    ...when(publicKey !== undefined && !same(publicKey, spki), 'publicKey', 'is not the key it was asked for'),
    ...when(!same(certificate.subjectKeyId, keyIdOf(spki)), 'subjectKeyIdentifier', 'does not belong to its key'),
    ...when(!isOurs, 'signatureAlgorithm', 'is not ECDSA'),
    ...when(
      certificate.serial.length < 9 || certificate.serial.length > 16,
      'serialNumber',
      'is not of 128 random bits',
    ),
  ]
}

function subjectFaults(certificate: Certificate, profile: Profile, { subject }: CertificateNames): Violation[] {
  const wanted =
    profile.subject === 'empty' || !subject
      ? []
      : [
          { oid: oids.organization, text: subject.organization },
          { oid: oids.commonName, text: subject.commonName },
        ]
  const equal = JSON.stringify(certificate.attributes) === JSON.stringify(wanted)
  return when(!equal, 'subject', profile.subject === 'empty' ? 'is not empty' : 'is not O and CN as expected')
}

function alternativeNameFaults(certificate: Certificate, profile: Profile, names: CertificateNames): Violation[] {
  const wanted: GeneralName[] = [
    ...(names.uri === undefined ? [] : [{ kind: 'uri', text: names.uri } as const]),
    ...(names.dns ?? []).map((text) => ({ kind: 'dns', text }) as const),
    ...(names.ips ?? []).map((text) => ({ kind: 'ip', bytes: ipBytes(text) }) as const),
  ]
  const keyed = (list: readonly GeneralName[]): string => JSON.stringify(list.map(textKey).toSorted())
  const hosts = certificate.names.filter((name) => name.kind === 'dns' || name.kind === 'ip').length
  const uris = certificate.names.flatMap((name) => (name.kind === 'uri' ? [name.text] : []))
  const path = 'subjectAltName'
  return [
    ...when(keyed(certificate.names) !== keyed(wanted), path, 'does not hold exactly the expected names'),
    ...when(certificate.names.length !== hosts + uris.length, path, 'holds a name of a kind that is never issued'),
    ...when(uris.length !== (profile.uri === 'none' ? 0 : 1), path, `holds ${uris.length} URIs`),
    ...when(profile.hosts !== hosts > 0, path, profile.hosts ? 'holds no host' : 'holds a DNS name or an address'),
    ...uris.flatMap((uri) => when(!isUriOf(profile, uri), path, `the URI ${uri.slice(0, 100)} has the wrong form`)),
  ]
}

const textKey = (name: GeneralName): string =>
  name.kind === 'ip'
    ? `ip:${Buffer.from(name.bytes).toString('hex')}`
    : name.kind === 'other'
      ? `other:${name.tag}`
      : `${name.kind}:${name.text}`

function isUriOf(profile: Profile, uri: string): boolean {
  try {
    if (profile.uri === 'trust-domain') parseTrustDomain(uri.replace(/^spiffe:\/\//, ''))
    else parseSpiffeId(uri)
    return uri.startsWith('spiffe://')
  } catch {
    return false
  }
}

function authorityFaults(certificate: Certificate, profile: Profile): Violation[] {
  const authority = profile.pathLen !== undefined
  const extended = profile.extendedUsage.map((use) => extendedUsages[use])
  const usage = JSON.stringify(certificate.usage) === JSON.stringify(profile.usage)
  const extendedUsage = JSON.stringify(certificate.extendedUsage ?? []) === JSON.stringify(extended)
  return [
    ...when(certificate.ca !== authority, 'basicConstraints', authority ? 'is no authority' : 'is an authority'),
    ...when(certificate.pathLen !== profile.pathLen, 'basicConstraints', `path length is not ${profile.pathLen}`),
    ...when(!usage, 'keyUsage', `is not ${profile.usage.join(', ')}`),
    ...when(!extendedUsage, 'extendedKeyUsage', `is not ${profile.extendedUsage.join(', ') || 'absent'}`),
  ]
}

function constraintFaults(certificate: Certificate, profile: Profile, names: CertificateNames): Violation[] {
  const { nameConstraints } = certificate
  if (!profile.confined) return when(nameConstraints !== undefined, 'nameConstraints', 'is not expected here')
  const domain = parseTrustDomainOrNone((names.uri ?? '').replace(/^spiffe:\/\//, ''))
  const wanted = domain && encode(buildNameConstraints(shutInto(domain, profile.hostsBelow)))
  const other = (list: readonly GeneralName[]): boolean => list.some((name) => name.kind === 'other')
  const exact =
    nameConstraints !== undefined &&
    !other(nameConstraints.permitted) &&
    !other(nameConstraints.excluded) &&
    same(wanted, encode(buildNameConstraints(nameConstraints)))
  return when(!exact, 'nameConstraints', 'do not shut it into its own trust domain in the one accepted shape')
}

function parseTrustDomainOrNone(text: string) {
  try {
    return parseTrustDomain(text)
  } catch {
    return undefined
  }
}

function extensionFaults(certificate: Certificate, profile: Profile): Violation[] {
  const wanted = new Map<string, boolean>([
    [oids.keyUsage, true],
    [oids.basicConstraints, true],
    [oids.subjectKeyIdentifier, false],
    [oids.authorityKeyIdentifier, false],
    ...(profile.extendedUsage.length > 0 ? [[oids.extendedKeyUsage, false] as const] : []),
    ...(profile.uri !== 'none' || profile.hosts ? [[oids.subjectAltName, profile.subject === 'empty'] as const] : []),
    ...(profile.confined ? [[oids.nameConstraints, true] as const] : []),
  ])
  const missing = [...wanted.keys()].filter((id) => !certificate.extensions.has(id))
  return [
    ...missing.map((id) => ({ path: 'extensions', reason: `${id} is missing` })),
    ...[...certificate.extensions].flatMap(([id, { critical }]) => [
      ...when(!wanted.has(id), 'extensions', `${id} is not expected here`),
      ...when(
        wanted.has(id) && wanted.get(id) !== critical,
        'extensions',
        `${id} is ${critical ? '' : 'not '}critical`,
      ),
    ]),
  ]
}

function issuerFaults(certificate: Certificate, issuer: Certificate | 'self' | undefined): Violation[] {
  if (issuer === undefined) return []
  const by = issuer === 'self' ? certificate : issuer
  const { signatureAlgorithm: algorithm, tbs: data, signature } = certificate
  return [
    ...when(!same(certificate.issuer, by.subject), 'issuer', 'is not the subject of its issuer'),
    ...when(!same(certificate.authorityKeyId, by.subjectKeyId), 'authorityKeyIdentifier', "is not its issuer's key"),
    ...when(!isSignedBy(verifyKeyOf(by), algorithm, { data, signature }), 'signature', 'was not made by its issuer'),
  ]
}
