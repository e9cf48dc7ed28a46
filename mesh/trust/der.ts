import forge from 'node-forge'
import { Problem } from '#mesh/model/problem.ts'

/**
 * DER, written and read through node-forge's ASN.1. Nothing else of forge is used: it knows no elliptic curves, so keys,
 * digests and signatures are node:crypto's.
 */
export type Der = forge.asn1.Asn1

const { asn1 } = forge
const { Class, Type } = asn1

const binary = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))
const universal = (type: forge.asn1.Type, constructed: boolean, value: string | Der[]): Der =>
  asn1.create(Class.UNIVERSAL, type, constructed, value)

export const sequence = (...items: Der[]): Der => universal(Type.SEQUENCE, true, items)
export const setOf = (...items: Der[]): Der => universal(Type.SET, true, items)
export const oid = (dotted: string): Der => universal(Type.OID, false, asn1.oidToDer(dotted).getBytes())
export const octets = (bytes: Uint8Array): Der => universal(Type.OCTETSTRING, false, binary(bytes))
export const utf8 = (text: string): Der => universal(Type.UTF8, false, binary(Buffer.from(text, 'utf8')))
export const yes = (): Der => universal(Type.BOOLEAN, false, '\xff')

/** BIT STRING; `unusedBits` are the low bits of the last byte that do not count. */
export const bitString = (bytes: Uint8Array, unusedBits = 0): Der =>
  universal(Type.BITSTRING, false, String.fromCharCode(unusedBits) + binary(bytes))

/** INTEGER from an unsigned big-endian number, in the shortest form. */
export function unsigned(bytes: Uint8Array): Der {
  const from = bytes.findIndex((byte) => byte !== 0)
  const short = from < 0 ? Uint8Array.of(0) : bytes.subarray(from)
  const signBit = ((short[0] ?? 0) & 0x80) !== 0
  return universal(Type.INTEGER, false, (signBit ? '\0' : '') + binary(short))
}

/** Context-specific tag: `inner` as its children (constructed), or as raw content (primitive). */
export function tagged(tag: number, inner: Uint8Array | Der[]): Der {
  const raw = inner instanceof Uint8Array
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, !raw, raw ? binary(inner) : inner)
}

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5); whole seconds. */
export const time = (at: Date): Der =>
  at.getUTCFullYear() < 2050
    ? universal(Type.UTCTIME, false, asn1.dateToUtcTime(at))
    : universal(Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(at))

export const encode = (node: Der): Uint8Array => bytesOf(asn1.toDer(node).getBytes())

/**
 * Reads exactly one DER value. Throws `invalid` where the bytes are not DER: trailing bytes, lengths or integers in a
 * longer form than needed, indefinite lengths. So two different inputs never read as one value, and `encode` of any part
 * gives back the bytes that were signed.
 */
export function decode(bytes: Uint8Array, what: string): Der {
  let node: Der
  try {
    node = parseDer(binary(bytes))
  } catch (cause) {
    throw malformed(what, 'it is not DER', cause)
  }
  if (!Buffer.from(encode(node)).equals(bytes)) throw malformed(what, 'it is not in the one form that DER allows')
  return node
}

type ReadOptions = { readonly decodeBitStrings: boolean; readonly maxDepth: number }
/**
 * The published types of forge know a boolean only; its code takes options since 1.3. Bit strings stay bytes: forge
 * would try to read them as nested values.
 */
const parseDer = (text: string): Der =>
  (asn1.fromDer as (bytes: string, options: ReadOptions & boolean) => Der)(text, {
    decodeBitStrings: false,
    maxDepth: 32,
  } as ReadOptions & boolean)
const malformed = (what: string, reason: string, cause?: unknown): Problem =>
  new Problem('invalid', `${what} cannot be read: ${reason}`, { violations: [{ path: what, reason }], cause })

/** Children of a SEQUENCE, SET or constructed tag; throws `invalid` when `node` is absent or something else. */
export function childrenOf(node: Der | undefined, what: string): readonly Der[] {
  if (!node?.constructed || typeof node.value === 'string') throw malformed(what, 'a sequence is expected')
  return node.value
}

/** Content bytes of a primitive value; throws `invalid` when `node` is absent or constructed. */
export function contentOf(node: Der | undefined, what: string): Uint8Array {
  if (!node || node.constructed || typeof node.value !== 'string') throw malformed(what, 'a plain value is expected')
  return bytesOf(node.value)
}

export const isTag = (node: Der | undefined, tag: number): node is Der =>
  node?.tagClass === Class.CONTEXT_SPECIFIC && (node.type as number) === tag
const isUniversal = (node: Der | undefined, type: forge.asn1.Type): node is Der =>
  node?.tagClass === Class.UNIVERSAL && node.type === type

export const isBoolean = (node: Der | undefined): node is Der => isUniversal(node, Type.BOOLEAN)
export const isInteger = (node: Der | undefined): node is Der => isUniversal(node, Type.INTEGER)

function need(node: Der | undefined, type: forge.asn1.Type, what: string, name: string): Der {
  if (!isUniversal(node, type)) throw malformed(what, `${name} is expected`)
  return node
}

export const itemsOf = (node: Der | undefined, what: string): readonly Der[] =>
  childrenOf(need(node, Type.SEQUENCE, what, 'SEQUENCE'), what)
/** Exactly `count` children of a SEQUENCE: one more than the form has would be read by nobody, and refused by others. */
export function partsOf(node: Der | undefined, count: number, what: string): readonly Der[] {
  const items = itemsOf(node, what)
  if (items.length !== count) throw malformed(what, `a sequence of ${count} is expected`)
  return items
}
/** The one child of an explicit tag. */
export function onlyOf(node: Der | undefined, what: string): Der {
  const [only, ...rest] = childrenOf(node, what)
  if (!only || rest.length > 0) throw malformed(what, 'one value is expected')
  return only
}
export const membersOf = (node: Der | undefined, what: string): readonly Der[] =>
  childrenOf(need(node, Type.SET, what, 'SET'), what)
export const octetsOf = (node: Der | undefined, what: string): Uint8Array =>
  contentOf(need(node, Type.OCTETSTRING, what, 'OCTET STRING'), what)

export function oidOf(node: Der | undefined, what: string): string {
  const content = contentOf(need(node, Type.OID, what, 'OBJECT IDENTIFIER'), what)
  const dotted = dottedOf(content)
  if (!/^[0-9]+(\.[0-9]+)+$/.test(dotted)) throw malformed(what, 'an object identifier is broken')
  return dotted
}

/** Empty for what is no identifier in its one form; forge throws for a number past 32 bits. */
function dottedOf(content: Uint8Array): string {
  try {
    const dotted = content.length === 0 ? '' : asn1.derToOid(binary(content))
    return binary(bytesOf(asn1.oidToDer(dotted).getBytes())) === binary(content) ? dotted : ''
  } catch {
    return ''
  }
}

/** Whole bytes of a BIT STRING (signatures, keys): unused bits are refused. */
export function bitsOf(node: Der | undefined, what: string): Uint8Array {
  const { bytes, unusedBits } = flagsOf(node, what)
  if (unusedBits !== 0) throw malformed(what, 'a bit string does not end at a byte')
  return bytes
}

export function flagsOf(node: Der | undefined, what: string): { bytes: Uint8Array; unusedBits: number } {
  const content = contentOf(need(node, Type.BITSTRING, what, 'BIT STRING'), what)
  const unusedBits = content[0]
  const last = content.length > 1 ? (content.at(-1) ?? 0) : 0
  const isPadded = (last & ((1 << (unusedBits ?? 0)) - 1)) === 0 && (content.length > 1 || unusedBits === 0)
  if (unusedBits === undefined || unusedBits > 7 || !isPadded) throw malformed(what, 'a bit string is broken')
  return { bytes: content.subarray(1), unusedBits }
}

/** Non-negative INTEGER as big-endian bytes without the sign byte. */
export function unsignedOf(node: Der | undefined, what: string): Uint8Array {
  const content = contentOf(need(node, Type.INTEGER, what, 'INTEGER'), what)
  if (content.length === 0 || ((content[0] ?? 0) & 0x80) !== 0) throw malformed(what, 'a negative number')
  return content.length > 1 && content[0] === 0 ? content.subarray(1) : content
}

export function smallNumberOf(node: Der | undefined, what: string): number {
  const bytes = unsignedOf(node, what)
  if (bytes.length > 2) throw malformed(what, 'a number out of range')
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0)
}

const utcTime = /^[0-9]{12}Z$/
const generalizedTime = /^[0-9]{14}Z$/

/** UTCTime or GeneralizedTime in the form RFC 5280 asks: to the second, in UTC. */
export function timeOf(node: Der | undefined, what: string): Date {
  const text = Buffer.from(contentOf(node, what)).toString('latin1')
  const short = isUniversal(node, Type.UTCTIME) && utcTime.test(text)
  const long = isUniversal(node, Type.GENERALIZEDTIME) && generalizedTime.test(text)
  if (!short && !long) throw malformed(what, 'a date is not in the form of RFC 5280')
  const century = Number(text.slice(0, 2)) < 50 ? '20' : '19'
  const digits = long ? text : century + text
  const [y, mo, d, h, mi, s] = [0, 4, 6, 8, 10, 12].map((at) => digits.slice(at, at === 0 ? 4 : at + 2))
  const iso = `${y}-${mo}-${d}T${h}:${mi}:${s}.000Z`
  const at = new Date(iso)
  if (Number.isNaN(at.getTime()) || at.toISOString() !== iso) throw malformed(what, 'a date does not exist')
  return at
}

const numericString = 18 as forge.asn1.Type
const teletexString = 20 as forge.asn1.Type
/** What may stand in a string of each type; those without an entry are UTF-8. */
const characters = new Map<forge.asn1.Type, RegExp>([
  [Type.PRINTABLESTRING, /^[A-Za-z0-9 '()+,./:=?&*-]*$/],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: IA5 is ASCII, control characters among it.
  [Type.IA5STRING, /^[\x00-\x7f]*$/],
  [numericString, /^[0-9 ]*$/],
])

/** True or false in the one byte that DER allows. */
export function flagOf(node: Der | undefined, what: string): boolean {
  const content = contentOf(need(node, Type.BOOLEAN, what, 'BOOLEAN'), what)
  if (content.length !== 1 || (content[0] !== 0xff && content[0] !== 0)) throw malformed(what, 'a flag is not DER')
  return content[0] === 0xff
}

/**
 * The text of an attribute in a name; undefined for the two types of old that are no Unicode (Teletex, BMP). Throws
 * `invalid` for a value of a type that names do not have, or with what its type cannot hold: others refuse the whole
 * certificate for it.
 */
export function textOf(node: Der | undefined, what: string): string | undefined {
  const content = contentOf(node, what)
  if (isUniversal(node, teletexString)) return undefined
  if (isUniversal(node, Type.BMPSTRING) && content.length % 2 === 0) return undefined
  const types = [Type.UTF8, ...characters.keys()]
  const type = types.find((one) => isUniversal(node, one))
  if (type === undefined) throw malformed(what, 'a name holds what is no text')
  const text = Buffer.from(content).toString('utf8')
  const isWhole = Buffer.from(text).equals(content) && (characters.get(type)?.test(text) ?? true)
  if (!isWhole) throw malformed(what, 'a name holds a text with what its type cannot hold')
  return text
}
