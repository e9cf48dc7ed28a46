import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { bitString, decode, encode, octets, oid, sequence, tagged, unsigned } from '#mesh/trust/der.ts'
import { buildGeneralName, ipBytes } from '#mesh/trust/general-name.ts'
import { buildNameConstraints, type NameConstraints } from '#mesh/trust/name-constraints.ts'
import { oids } from '#mesh/trust/oid.ts'
import { keyIdOf } from '#mesh/trust/public-key.ts'
import { basicConstraints, commonNameOf, extension, keyUsage, lifeOf } from '#tests/support/certificate-parts.ts'

export type Pair = { readonly publicKey: KeyObject; readonly privateKey: KeyObject }

export type SelfSigned = {
  readonly subject?: string
  /** Named as issuer in place of its own subject. */
  readonly issuer?: string
  readonly key?: Pair
  /** Signs in place of its own key. */
  readonly signedBy?: KeyObject
  readonly digest?: 'sha256' | 'sha1' | 'md5'
  readonly ca?: boolean
  readonly pathLen?: number
  /** The first byte of keyUsage; absent: no keyUsage at all. */
  readonly usage?: number
  readonly extendedUsage?: readonly string[]
  readonly constraints?: NameConstraints
  readonly critical?: string
  /** In the subjectAltName: it serves there. */
  readonly address?: string
  /** With key identifiers, as most tools make them: its own, and its issuer's where that is another. */
  readonly keyId?: boolean
  readonly issuerSpki?: Uint8Array
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** 0: version 1, without extensions. */
  readonly version?: number
}

const signatureOids = {
  rsa: { sha256: '1.2.840.113549.1.1.11', sha1: '1.2.840.113549.1.1.5', md5: '1.2.840.113549.1.1.4' },
  ec: { sha256: '1.2.840.10045.4.3.2', sha1: '1.2.840.10045.4.1', md5: '1.2.840.10045.4.1' },
}

export const rsaPair = (modulusLength = 2048): Pair => generateKeyPairSync('rsa', { modulusLength })
export const ecPair = (namedCurve = 'P-256'): Pair => generateKeyPairSync('ec', { namedCurve })

/** A root as somebody else's tool may have made it, DER: right where nothing else is said. */
export function selfSigned(spec: SelfSigned = {}): Uint8Array {
  const { subject = `root ${randomBytes(4).toString('hex')}`, key = ecPair(), digest = 'sha256', ca = true } = spec
  const { usage = 0x06, version = 2, constraints } = spec
  const kind = (spec.signedBy ?? key.privateKey).asymmetricKeyType === 'rsa' ? 'rsa' : 'ec'
  const nothing = kind === 'rsa' ? [decode(Uint8Array.of(5, 0), 'null')] : []
  const algorithm = sequence(oid(signatureOids[kind][digest]), ...nothing)
  const spki = new Uint8Array(key.publicKey.export({ type: 'spki', format: 'der' }))
  const extensions = [
    ...(usage === 0 ? [] : [keyUsage(usage)]),
    basicConstraints(ca, spec.pathLen),
    ...(spec.extendedUsage ? [extension(oids.extendedKeyUsage, false, sequence(...spec.extendedUsage.map(oid)))] : []),
    ...(constraints ? [extension(oids.nameConstraints, true, buildNameConstraints(constraints))] : []),
    ...(spec.keyId
      ? [
          extension(oids.subjectKeyIdentifier, false, octets(keyIdOf(spki))),
          extension(oids.authorityKeyIdentifier, false, sequence(tagged(0, keyIdOf(spec.issuerSpki ?? spki)))),
        ]
      : []),
    ...(spec.address
      ? [
          extension(
            ...([oids.subjectAltName, false] as const),
            sequence(buildGeneralName({ kind: 'ip', bytes: ipBytes(spec.address) })),
          ),
        ]
      : []),
    ...(spec.critical ? [extension(spec.critical, true, sequence())] : []),
  ]
  const tbs = encode(
    sequence(
      ...(version === 0 ? [] : [tagged(0, [unsigned(Uint8Array.of(version))])]),
      unsigned(new Uint8Array(randomBytes(16))),
      algorithm,
      commonNameOf(spec.issuer ?? subject),
      lifeOf(spec),
      commonNameOf(subject),
      decode(spki, 'key'),
      ...(version === 0 ? [] : [tagged(3, [sequence(...extensions)])]),
    ),
  )
  const signature = new Uint8Array(sign(digest, tbs, spec.signedBy ?? key.privateKey))
  return encode(sequence(decode(tbs, 'tbs'), algorithm, bitString(signature)))
}
