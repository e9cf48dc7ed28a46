import { Problem } from '#mesh/model/problem.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
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
  time,
  unsigned,
  utf8,
  yes,
} from '#mesh/trust/der.ts'
import { buildGeneralName, ipBytes } from '#mesh/trust/general-name.ts'
import { buildNameConstraints, shutInto } from '#mesh/trust/name-constraints.ts'
import type { CertificateNames } from '#mesh/trust/names.ts'
import {
  extendedUsages,
  type KeyUsage,
  keyUsages,
  oids,
  type SignatureAlgorithm,
  signatureAlgorithms,
} from '#mesh/trust/oid.ts'
import { backdateSeconds, type Profile, type ProfileName, profileOf } from '#mesh/trust/profile.ts'
import { keyIdOf } from '#mesh/trust/public-key.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

/** One certificate to be made. Every field is decided by the issuer: of a CSR only `publicKey` may come in here. */
export type CertificateRequest = {
  readonly profile: ProfileName
  readonly names: CertificateNames
  /** SubjectPublicKeyInfo, DER, as `parsePublicKey` or `parseCsr` gave it. */
  readonly publicKey: Uint8Array
  /** The issuer's own certificate, or `self`. */
  readonly issuer: Certificate | 'self'
  /** What the issuer's key signs with. */
  readonly signature: SignatureAlgorithm
  readonly now: Date
  /** 16 random bytes. */
  readonly serial: Uint8Array
  /** Shorter than the profile's life where given; the issuer's own end bounds it in any case. */
  readonly lifeSeconds?: number
}

/**
 * The bytes to be signed for `request`: DER TBSCertificate.
 *
 * Valid from `now` less 5 minutes to `now` plus the life, never past the issuer's end. Throws `internal` when the request
 * breaks its profile's row in a way only our own code can cause, `conflict` when the issuer has already ended.
 */
export function buildTbs(request: CertificateRequest): Uint8Array {
  const { issuer, names, now, serial } = request
  const profile = profileOf(request.profile)
  if (serial.length !== 16 || serial.every((byte) => byte === 0)) throw bug('a serial is 16 random bytes')
  const subject = buildSubject(profile, names)
  const keyId = keyIdOf(request.publicKey)
  const { notBefore, notAfter } = validityOf(request, profile)
  const tbs = sequence(
    tagged(0, [unsigned(Uint8Array.of(2))]),
    unsigned(serial),
    algorithmOf(request.signature),
    issuer === 'self' ? subject : decode(issuer.subject, 'issuer'),
    sequence(time(notBefore), time(notAfter)),
    subject,
    decode(request.publicKey, 'public key'),
    tagged(3, [sequence(...extensionsOf(profile, names, { keyId, issuerKeyId: issuerKeyId(issuer, keyId) }))]),
  )
  if (now.getTime() < notBefore.getTime()) throw bug('a certificate begins in the future')
  return encode(tbs)
}

/** TBSCertificate plus signature: the certificate's DER. */
export const assembleCertificate = (
  tbs: Uint8Array,
  algorithm: SignatureAlgorithm,
  signature: Uint8Array,
): Uint8Array => encode(sequence(decode(tbs, 'certificate'), algorithmOf(algorithm), bitString(signature)))

/** Of ECDSA without parameters, of RSA with NULL (RFC 5758, RFC 4055). */
export const algorithmOf = (algorithm: SignatureAlgorithm): Der =>
  sequence(oid(signatureAlgorithms[algorithm].oid), ...(algorithm.startsWith('rsa') ? [decode(nothing, 'NULL')] : []))

const nothing = Uint8Array.of(5, 0)

/** Whole seconds: X.509 has no finer ones, and a rounded-up end would outlive what was asked. */
function validityOf(request: CertificateRequest, profile: Profile): { notBefore: Date; notAfter: Date } {
  const second = Math.floor(request.now.getTime() / 1000)
  const life = Math.min(request.lifeSeconds ?? profile.lifeSecondsMax, profile.lifeSecondsMax)
  if (!(life >= 1)) throw bug('a certificate lives for less than a second')
  const issuerEnd = request.issuer === 'self' ? Number.POSITIVE_INFINITY : request.issuer.notAfter.getTime() / 1000
  if (issuerEnd <= second) {
    throw new Problem('conflict', 'the issuing authority has ended: renew it before it signs anything else')
  }
  const end = Math.min(second + Math.floor(life), issuerEnd)
  return { notBefore: new Date((second - backdateSeconds) * 1000), notAfter: new Date(end * 1000) }
}

function issuerKeyId(issuer: Certificate | 'self', own: Uint8Array): Uint8Array {
  if (issuer === 'self') return own
  if (!issuer.subjectKeyId) throw bug('the issuer has no subject key identifier')
  return issuer.subjectKeyId
}

function buildSubject(profile: Profile, names: CertificateNames): Der {
  if ((profile.subject === 'named') !== (names.subject !== undefined)) throw bug('subject and profile disagree')
  if (!names.subject) return sequence()
  const part = (id: string, text: string): Der => setOf(sequence(oid(id), utf8(text)))
  return sequence(part(oids.organization, names.subject.organization), part(oids.commonName, names.subject.commonName))
}

function extensionsOf(
  profile: Profile,
  names: CertificateNames,
  keys: { readonly keyId: Uint8Array; readonly issuerKeyId: Uint8Array },
): Der[] {
  const alternative = alternativeNames(names)
  const { first, extendedUsage } = sameForAll(profile)
  return [
    ...first,
    extension(oids.subjectKeyIdentifier, false, octets(keys.keyId)),
    extension(oids.authorityKeyIdentifier, false, sequence(tagged(0, keys.issuerKeyId))),
    ...extendedUsage,
    ...(alternative.length > 0
      ? [extension(oids.subjectAltName, profile.subject === 'empty', sequence(...alternative))]
      : []),
    ...(profile.confined
      ? [extension(oids.nameConstraints, true, buildNameConstraints(shutInto(domainOf(names), profile.hostsBelow)))]
      : []),
  ]
}

type SameForAll = { readonly first: readonly Der[]; readonly extendedUsage: readonly Der[] }

/** The extensions that every certificate of a profile has alike, built once. */
function sameForAll(profile: Profile): SameForAll {
  const known = builtOnce.get(profile)
  if (known) return known
  const { pathLen, usage, extendedUsage } = profile
  const constraints = pathLen === undefined ? sequence() : sequence(yes(), unsigned(Uint8Array.of(pathLen)))
  const uses = sequence(...extendedUsage.map((use) => oid(extendedUsages[use])))
  const built: SameForAll = {
    first: [extension(oids.keyUsage, true, usageBits(usage)), extension(oids.basicConstraints, true, constraints)],
    extendedUsage: extendedUsage.length > 0 ? [extension(oids.extendedKeyUsage, false, uses)] : [],
  }
  builtOnce.set(profile, built)
  return built
}
const builtOnce = new WeakMap<Profile, SameForAll>()

const extension = (id: string, critical: boolean, value: Der): Der =>
  sequence(oid(id), ...(critical ? [yes()] : []), octets(encode(value)))

/** KeyUsage as a DER named bit list: no trailing zero bits. */
function usageBits(usage: readonly KeyUsage[]): Der {
  const bits = usage.map((name) => keyUsages.indexOf(name))
  const last = Math.max(...bits)
  const bytes = new Uint8Array((last >> 3) + 1)
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7))
  return bitString(bytes, 7 - (last & 7))
}

const alternativeNames = (names: CertificateNames): Der[] => [
  ...(names.uri === undefined ? [] : [buildGeneralName({ kind: 'uri', text: names.uri })]),
  ...(names.dns ?? []).map((text) => buildGeneralName({ kind: 'dns', text })),
  ...(names.ips ?? []).map((text) => buildGeneralName({ kind: 'ip', bytes: ipBytes(text) })),
]

/** The trust domain that an issuing CA's own URI names. */
const domainOf = (names: CertificateNames) => parseTrustDomain((names.uri ?? '').replace(/^spiffe:\/\//, ''))

const bug = (reason: string): Problem => new Problem('internal', `a certificate cannot be built: ${reason}`)
