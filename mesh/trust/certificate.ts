import type { KeyObject } from 'node:crypto'
import { Problem } from '#mesh/model/problem.ts'
import {
  bitsOf,
  childrenOf,
  contentOf,
  type Der,
  decode,
  encode,
  flagsOf,
  isBoolean,
  isInteger,
  isTag,
  itemsOf,
  membersOf,
  octetsOf,
  oidOf,
  smallNumberOf,
  textOf,
  timeOf,
  unsignedOf,
} from '#mesh/trust/der.ts'
import { type GeneralName, readGeneralName } from '#mesh/trust/general-name.ts'
import { type NameConstraints, readNameConstraints } from '#mesh/trust/name-constraints.ts'
import { type AnySignatureAlgorithm, type KeyUsage, keyUsages, oids, signatureAlgorithmOf } from '#mesh/trust/oid.ts'
import { parsePem, toPem } from '#mesh/trust/pem.ts'
import { type PublicKey, parsePublicKey } from '#mesh/trust/public-key.ts'

/** A certificate as read from its bytes. Reading proves nothing: see `checkCertificate` and `checkChain`. */
export type Certificate = {
  readonly der: Uint8Array
  /** The bytes that the signature covers. */
  readonly tbs: Uint8Array
  readonly signatureAlgorithm: AnySignatureAlgorithm
  readonly signature: Uint8Array
  /** Big-endian, without a sign byte. */
  readonly serial: Uint8Array
  /** The Name as DER: issuer and subject are compared as bytes. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly attributes: readonly { readonly oid: string; readonly text: string | undefined }[]
  readonly notBefore: Date
  readonly notAfter: Date
  readonly publicKey: PublicKey
  /** By object identifier, in order; those read below as well. */
  readonly extensions: ReadonlyMap<string, { readonly critical: boolean }>
  readonly ca: boolean
  readonly pathLen: number | undefined
  readonly usage: readonly KeyUsage[] | undefined
  readonly extendedUsage: readonly string[] | undefined
  readonly names: readonly GeneralName[]
  readonly nameConstraints: NameConstraints | undefined
  readonly subjectKeyId: Uint8Array | undefined
  readonly authorityKeyId: Uint8Array | undefined
}

const certificateBytesMax = 16 * 1024
const chainLengthMax = 8

/**
 * Reads one X.509 v3 certificate, DER or a PEM with exactly one block. Throws `invalid` for anything malformed, for an
 * extension given twice, a signature by MD5 or SHA-1, a key that `parsePublicKey` refuses, and more than 16 KiB.
 */
export function parseCertificate(input: string | Uint8Array, what = 'certificate'): Certificate {
  if (input.length > 2 * certificateBytesMax) throw invalid(what, `it has more than ${certificateBytesMax} bytes`)
  if (typeof input !== 'string') return fromDer(input, what)
  const [only, ...more] = parsePem(input, ['CERTIFICATE'], what)
  if (!only || more.length > 0) throw invalid(what, 'it holds more than one certificate')
  return fromDer(only, what)
}

/** Reads the certificates of a PEM in order: at least one, at most `max`. */
export function parseCertificates(pem: string, what = 'chain', max = chainLengthMax): Certificate[] {
  if (pem.length > 2 * certificateBytesMax * max) throw invalid(what, 'it is too long')
  const blocks = parsePem(pem, ['CERTIFICATE'], what)
  if (blocks.length > max) throw invalid(what, `it holds ${blocks.length} certificates; at most ${max}`)
  return blocks.map((der, i) => fromDer(der, blocks.length > 1 ? `${what}[${i}]` : what))
}

export const certificatePem = (certificate: Certificate): string => toPem(certificate.der)

function fromDer(der: Uint8Array, what: string): Certificate {
  if (der.length > certificateBytesMax) throw invalid(what, `it has more than ${certificateBytesMax} bytes`)
  const [tbs, outerAlgorithm, signature, ...rest] = itemsOf(decode(der, what), what)
  if (!tbs || rest.length > 0) throw invalid(what, 'it is not a certificate')
  const [version, serial, algorithm, issuer, validity, subject, publicKey, extensions, ...more] = itemsOf(tbs, what)
  if (!isTag(version, 0) || smallNumberOf(childrenOf(version, what)[0], what) !== 2)
    throw invalid(what, 'not version 3')
  if (!issuer || !validity || !subject || !publicKey || more.length > 0) throw invalid(what, 'it is not a certificate')
  if (!algorithm || !outerAlgorithm || !same(encode(algorithm), encode(outerAlgorithm))) {
    throw invalid(what, 'its two signature algorithms differ')
  }
  const [notBefore, notAfter] = itemsOf(validity, what)
  return {
    der,
    tbs: encode(tbs),
    signatureAlgorithm: readAlgorithm(algorithm, what),
    signature: bitsOf(signature, what),
    serial: unsignedOf(serial, what),
    issuer: encode(issuer),
    subject: encode(subject),
    attributes: readName(subject, what),
    notBefore: timeOf(notBefore, what),
    notAfter: timeOf(notAfter, what),
    publicKey: parsePublicKey(encode(publicKey)),
    ...readExtensions(extensions, what),
  }
}

/** The algorithm of a signature, its parameters absent (ECDSA) or NULL (RSA) as RFC 5758 and RFC 4055 ask. */
export function readAlgorithm(node: Der | undefined, what: string): AnySignatureAlgorithm {
  const [id, parameters, ...rest] = itemsOf(node, what)
  const dotted = oidOf(id, what)
  const algorithm = signatureAlgorithmOf(dotted)
  if (!algorithm) throw invalid(what, `its signature algorithm ${dotted} is not accepted; use ECDSA or RSA with SHA-2`)
  const isNull = parameters !== undefined && contentOf(parameters, what).length === 0
  if (rest.length > 0 || (algorithm.startsWith('rsa') ? !isNull : parameters !== undefined)) {
    throw invalid(what, 'its signature algorithm has unexpected parameters')
  }
  return algorithm
}

function readName(node: Der, what: string): Certificate['attributes'] {
  return itemsOf(node, what).flatMap((rdn) =>
    membersOf(rdn, what).map((attribute) => {
      const [id, value] = itemsOf(attribute, what)
      return { oid: oidOf(id, what), text: value && textOf(value) }
    }),
  )
}

type Extensions = Pick<
  Certificate,
  | 'extensions'
  | 'ca'
  | 'pathLen'
  | 'usage'
  | 'extendedUsage'
  | 'names'
  | 'nameConstraints'
  | 'subjectKeyId'
  | 'authorityKeyId'
>

function readExtensions(node: Der | undefined, what: string): Extensions {
  const found = new Map<string, { critical: boolean; value: Der | undefined; bytes: Uint8Array }>()
  for (const extension of node && isTag(node, 3) ? itemsOf(childrenOf(node, what)[0], what) : []) {
    const [id, ...rest] = itemsOf(extension, what)
    const dotted = oidOf(id, what)
    const critical = isBoolean(rest[0])
    if (found.has(dotted)) throw invalid(what, `its extension ${dotted} is there twice`)
    if (rest.length !== (critical ? 2 : 1)) throw invalid(what, `its extension ${dotted} is broken`)
    if (critical && contentOf(rest[0], what)[0] !== 0xff) throw invalid(what, `its extension ${dotted} is not DER`)
    const bytes = octetsOf(rest.at(-1), what)
    found.set(dotted, { critical, bytes, value: known.has(dotted) ? decode(bytes, `${what} ${dotted}`) : undefined })
  }
  const of = (dotted: string): Der | undefined => found.get(dotted)?.value
  const names = of(oids.subjectAltName)
  const constraints = of(oids.nameConstraints)
  const extended = of(oids.extendedKeyUsage)
  const keyId = of(oids.subjectKeyIdentifier)
  return {
    extensions: new Map([...found].map(([dotted, { critical }]) => [dotted, { critical }])),
    ...readBasicConstraints(of(oids.basicConstraints), what),
    usage: readUsage(of(oids.keyUsage), what),
    extendedUsage: extended && itemsOf(extended, what).map((item) => oidOf(item, what)),
    names: names ? itemsOf(names, what).map((name) => readGeneralName(name, `${what} subjectAltName`)) : [],
    nameConstraints: constraints && readNameConstraints(constraints),
    subjectKeyId: keyId && octetsOf(keyId, what),
    authorityKeyId: readAuthorityKeyId(of(oids.authorityKeyIdentifier), what),
  }
}

const known = new Set<string>(Object.values(oids))

function readBasicConstraints(node: Der | undefined, what: string): Pick<Certificate, 'ca' | 'pathLen'> {
  if (!node) return { ca: false, pathLen: undefined }
  const items = itemsOf(node, what)
  const ca = isBoolean(items[0])
  if (ca && contentOf(items[0], what)[0] !== 0xff) throw invalid(what, 'its basicConstraints are not DER')
  const [pathLen, ...rest] = ca ? items.slice(1) : items
  if (rest.length > 0 || (pathLen && !isInteger(pathLen))) throw invalid(what, 'its basicConstraints are broken')
  if (pathLen && !ca) throw invalid(what, 'it has a path length without being an authority')
  return { ca, pathLen: pathLen && smallNumberOf(pathLen, what) }
}

function readUsage(node: Der | undefined, what: string): readonly KeyUsage[] | undefined {
  if (!node) return undefined
  const { bytes } = flagsOf(node, what)
  return keyUsages.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0)
}

function readAuthorityKeyId(node: Der | undefined, what: string): Uint8Array | undefined {
  const id = node && itemsOf(node, what).find((item) => isTag(item, 0))
  return id && contentOf(id, what)
}

export const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a !== undefined && b !== undefined && Buffer.from(a).equals(b)

/** The node:crypto key that verifies what this certificate's holder signs. */
export const verifyKeyOf = (certificate: Certificate): KeyObject => certificate.publicKey.key

const invalid = (what: string, reason: string): Problem =>
  new Problem('invalid', `${what} cannot be accepted: ${reason}`, { violations: [{ path: what, reason }] })
