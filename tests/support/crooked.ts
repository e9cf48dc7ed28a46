import { randomBytes } from 'node:crypto'
import type { Certificate } from '#mesh/trust/certificate.ts'
import { bitString, type Der, decode, encode, octets, oid, sequence, tagged, unsigned, utf8 } from '#mesh/trust/der.ts'
import { buildGeneralName, ipBytes } from '#mesh/trust/general-name.ts'
import { buildNameConstraints, type NameConstraints } from '#mesh/trust/name-constraints.ts'
import { extendedUsages, oids } from '#mesh/trust/oid.ts'
import { keyIdOf } from '#mesh/trust/public-key.ts'
import { type KeyInHand, keyInHand } from '#tests/support/authorities.ts'
import { basicConstraints, commonNameOf, extension, keyUsage, lifeOf } from '#tests/support/certificate-parts.ts'

/** A name to put into a certificate, also of the kinds that our own builder cannot make. */
export type AnyName =
  | { readonly uri: string }
  | { readonly dns: string }
  | { readonly email: string }
  | { readonly ip: string }
  | { readonly other: string }
  | { readonly directory: string }

export type Crooked = {
  readonly names?: readonly AnyName[]
  readonly namesCritical?: boolean
  readonly subject?: string
  readonly ca?: { readonly pathLen?: number; readonly constraints?: NameConstraints }
  /** The first byte of keyUsage; 0x80 is digitalSignature, 0x04 keyCertSign. */
  readonly usage?: number
  readonly extendedUsage?: readonly (keyof typeof extendedUsages)[]
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly serial?: Uint8Array
  readonly more?: readonly { readonly id: string; readonly critical: boolean }[]
  readonly key?: KeyInHand
}

function nameOf(name: AnyName): Der {
  if ('uri' in name) return buildGeneralName({ kind: 'uri', text: name.uri })
  if ('dns' in name) return buildGeneralName({ kind: 'dns', text: name.dns })
  if ('email' in name) return buildGeneralName({ kind: 'email', text: name.email })
  if ('ip' in name) return buildGeneralName({ kind: 'ip', bytes: ipBytes(name.ip) })
  if ('directory' in name) return tagged(4, [commonNameOf(name.directory)])
  return tagged(0, [oid('1.3.6.1.4.1.311.20.2.3'), tagged(0, [utf8(name.other)])])
}

/** A certificate that says whatever a test wants, signed by `by` as a cluster's own administrator could. */
export async function crooked(
  spec: Crooked,
  by: { readonly key: KeyInHand; readonly certificate: Certificate },
): Promise<{ readonly der: Uint8Array; readonly key: KeyInHand }> {
  const { key = keyInHand(), ca, names = [], more = [] } = spec
  const usage = spec.usage ?? (ca ? 0x06 : 0x80)
  const use = spec.extendedUsage ?? ['serverAuth', 'clientAuth']
  const extensions = [
    keyUsage(usage),
    basicConstraints(ca !== undefined, ca?.pathLen),
    extension(oids.subjectKeyIdentifier, false, octets(keyIdOf(key.spki))),
    extension(oids.authorityKeyIdentifier, false, sequence(tagged(0, by.certificate.subjectKeyId ?? new Uint8Array()))),
    ...(use.length > 0
      ? [extension(oids.extendedKeyUsage, false, sequence(...use.map((one) => oid(extendedUsages[one]))))]
      : []),
    ...(names.length > 0
      ? [
          extension(
            oids.subjectAltName,
            spec.namesCritical ?? spec.subject === undefined,
            sequence(...names.map(nameOf)),
          ),
        ]
      : []),
    ...(ca?.constraints ? [extension(oids.nameConstraints, true, buildNameConstraints(ca.constraints))] : []),
    ...more.map(({ id, critical }) => extension(id, critical, sequence())),
  ]
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'))
  const tbs = encode(
    sequence(
      tagged(0, [unsigned(Uint8Array.of(2))]),
      unsigned(spec.serial ?? new Uint8Array(randomBytes(16))),
      algorithm,
      decode(by.certificate.subject, 'issuer'),
      lifeOf(spec),
      spec.subject === undefined ? sequence() : commonNameOf(spec.subject),
      decode(key.spki, 'key'),
      tagged(3, [sequence(...extensions)]),
    ),
  )
  return { der: encode(sequence(decode(tbs, 'tbs'), algorithm, bitString(await by.key.sign(tbs)))), key }
}
