import type { KeyObject } from 'node:crypto'
import { Problem } from '#mesh/model/problem.ts'
import {
  bitsOf,
  childrenOf,
  contentOf,
  type Der,
  decode,
  encode,
  flagOf,
  flagsOf,
  isBoolean,
  isInteger,
  isTag,
  itemsOf,
  membersOf,
  octetsOf,
  oidOf,
  onlyOf,
  partsOf,
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
  if (!isTag(version, 0) || smallNumberOf(onlyOf(version, what), what) !== 2) throw invalid(what, 'not version 3')
  if (!issuer || !validity || !subject || !publicKey || more.length > 0) throw invalid(what, 'it is not a certificate')
  if (!algorithm || !outerAlgorithm || !same(encode(algorithm), encode(outerAlgorithm))) {
    throw invalid(what, 'its two signature algorithms differ')
  }
  const [notBefore, notAfter] = partsOf(validity, 2, what)
  if (extensions && !isTag(extensions, 3)) throw invalid(what, 'it is not a certificate')
  readName(issuer, what)
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
    ...readExtensions(extensions && onlyOf(extensions, what), what),
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

/** A Name (RFC 5280 §4.1.2.4), attribute by attribute. */
export function readName(node: Der, what: string): Certificate['attributes'] {
  return itemsOf(node, what).flatMap((rdn) => {
    const members = membersOf(rdn, what)
    if (members.length === 0) throw invalid(what, 'a part of a name is empty')
    return members.map((attribute) => {
      const [id, value] = partsOf(attribute, 2, what)
      return { oid: oidOf(id, what), text: textOf(value, what) }
    })
  })
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

/** The extensions of a list (of a certificate, or that a request asks for), each as strictly as others read it. */
export function readExtensions(list: Der | undefined, what: string): Extensions {
  const found = new Map<string, { critical: boolean; value: Der | undefined; bytes: Uint8Array }>()
  for (const extension of list ? someOf(list, 'list of extensions', what) : []) {
    const [id, ...rest] = itemsOf(extension, what)
    const dotted = oidOf(id, what)
    const critical = isBoolean(rest[0])
    if (found.has(dotted)) throw invalid(what, `its extension ${dotted} is there twice`)
    if (rest.length !== (critical ? 2 : 1)) throw invalid(what, `its extension ${dotted} is broken`)
    if (critical && !flagOf(rest[0], what)) throw invalid(what, `its extension ${dotted} is not DER`)
    if (unread.has(dotted))
      throw invalid(what, `its extension ${dotted} restricts its use in a way that is not understood`)
    const bytes = octetsOf(rest.at(-1), what)
    if (told.has(dotted)) for (const item of someOf(decode(bytes, what), dotted, what)) itemsOf(item, what)
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
    extendedUsage: extended && someOf(extended, 'extendedKeyUsage', what).map((item) => oidOf(item, what)),
    names: names ? someOf(names, 'subjectAltName', what).map((name) => readAlternativeName(name, what)) : [],
    nameConstraints: constraints && readNameConstraints(constraints),
    subjectKeyId: keyId && octetsOf(keyId, what),
    authorityKeyId: readAuthorityKeyId(of(oids.authorityKeyIdentifier), what),
  }
}

const known = new Set<string>(Object.values(oids))
/**
 * Extensions that restrict what a certificate may be used for, and that nothing here evaluates: to pass over one, though
 * it is not critical, would be to take what others refuse. Policy constraints, inhibited policies, proxy certificates,
 * addresses and numbers of networks, Netscape's types.
 */
const unread = new Set([
  ...['2.5.29.36', '2.5.29.54', '1.3.6.1.5.5.7.1.14', '1.3.6.1.5.5.7.1.7', '1.3.6.1.5.5.7.1.8'],
  '2.16.840.1.113730.1.1',
])

/**
 * Extensions that only tell something (where lists of the revoked are, policies, where issuers are found), but that others
 * read and refuse a certificate for where they are broken: lists of sequences.
 */
const told = new Set(['2.5.29.31', '2.5.29.32', '2.5.29.33', '2.5.29.46', '1.3.6.1.5.5.7.1.1', '1.3.6.1.5.5.7.1.11'])

function someOf(node: Der, name: string, what: string): readonly Der[] {
  const items = itemsOf(node, what)
  if (items.length === 0) throw invalid(what, `its ${name} is empty`)
  return items
}

/** A name beside the subject; those of kinds that we never issue must at least be well formed, or others refuse all. */
function readAlternativeName(node: Der, what: string): GeneralName {
  const name = readGeneralName(node, `${what} subjectAltName`)
  if (name.kind === 'ip' && ![4, 16].includes(name.bytes.length)) throw invalid(what, 'an address has the wrong length')
  if (name.kind === 'uri' && !isUri(name.text)) throw invalid(what, 'a URI in it is none')
  if (name.kind !== 'other') return name
  if (name.tag === 0) {
    const [id, value, ...rest] = childrenOf(node, what)
    oidOf(id, what)
    if (!value || !isTag(value, 0) || rest.length > 0) throw invalid(what, 'a name of another kind is broken')
    onlyOf(value, what)
    return name
  }
  if (name.tag !== 4) throw invalid(what, 'it holds a name of a kind that is not understood')
  readName(onlyOf(node, what), what)
  return name
}

/** RFC 3986 in its characters and escapes, and a host, where there is one, without empty labels. */
function isUri(text: string): boolean {
  const [, authority] = /^[a-z][a-z0-9+.-]*:(?:\/\/([^/?#]*))?/i.exec(text) ?? []
  const host = authority?.replace(/^.*@/, '').replace(/:[0-9]*$/, '') ?? ''
  const isHost = host === '' || /^(\[[0-9a-f:.]+\]|[a-z0-9_~!$&'()*+,;=-]+(\.[a-z0-9_~!$&'()*+,;=-]+)*)$/i.test(host)
  return isHost && /^[a-z][a-z0-9+.-]*:([a-z0-9._~:/?#[\]@!$&'()*+,;=-]|%[0-9a-f]{2})*$/i.test(text)
}

function readBasicConstraints(node: Der | undefined, what: string): Pick<Certificate, 'ca' | 'pathLen'> {
  if (!node) return { ca: false, pathLen: undefined }
  const items = itemsOf(node, what)
  const ca = isBoolean(items[0])
  if (ca && !flagOf(items[0], what)) throw invalid(what, 'its basicConstraints are not DER')
  const [pathLen, ...rest] = ca ? items.slice(1) : items
  if (rest.length > 0 || (pathLen && !isInteger(pathLen))) throw invalid(what, 'its basicConstraints are broken')
  if (pathLen && !ca) throw invalid(what, 'it has a path length without being an authority')
  return { ca, pathLen: pathLen && smallNumberOf(pathLen, what) }
}

function readUsage(node: Der | undefined, what: string): readonly KeyUsage[] | undefined {
  if (!node) return undefined
  const { bytes } = flagsOf(node, what)
  if (bytes.every((byte) => byte === 0)) throw invalid(what, 'its keyUsage is empty')
  return keyUsages.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0)
}

function readAuthorityKeyId(node: Der | undefined, what: string): Uint8Array | undefined {
  const items = node ? itemsOf(node, what) : []
  const tags = items.map((item) => [0, 1, 2].find((tag) => isTag(item, tag)))
  const [id, names, serial] = [0, 1, 2].map((tag) => items[tags.indexOf(tag)])
  const isOrdered = tags.every((tag, i) => tag !== undefined && tag > (tags[i - 1] ?? -1))
  if (!isOrdered || (names === undefined) !== (serial === undefined))
    throw invalid(what, 'its authorityKeyIdentifier is broken')
  if (names) for (const name of childrenOf(names, what)) readAlternativeName(name, what)
  if (serial) contentOf(serial, what)
  return id && contentOf(id, what)
}

export const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a !== undefined && b !== undefined && Buffer.from(a).equals(b)

/** The node:crypto key that verifies what this certificate's holder signs. */
export const verifyKeyOf = (certificate: Certificate): KeyObject => certificate.publicKey.key

const invalid = (what: string, reason: string): Problem =>
  new Problem('invalid', `${what} cannot be accepted: ${reason}`, { violations: [{ path: what, reason }] })
