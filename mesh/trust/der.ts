import { Problem } from '#mesh/model/problem.ts'
import { branchOf, bytesOf, type Der, leafOf, readTlv } from '#mesh/trust/tlv.ts'

export type { Der } from '#mesh/trust/tlv.ts'

/** The universal types that certificates are made of, by number (X.690). */
const types = {
  ...{ boolean: 1, integer: 2, bitString: 3, octetString: 4, oid: 6, utf8: 12, sequence: 16, set: 17 },
  ...{ numeric: 18, printable: 19, teletex: 20, ia5: 22, utcTime: 23, generalizedTime: 24, bmp: 30 },
} as const
type UniversalType = (typeof types)[keyof typeof types]
const contextClass = 0x80

export const sequence = (...items: Der[]): Der => branchOf(types.sequence, items)
export const setOf = (...items: Der[]): Der => branchOf(types.set, items)
export const octets = (bytes: Uint8Array): Der => leafOf(types.octetString, bytes)
export const utf8 = (text: string): Der => leafOf(types.utf8, Buffer.from(text, 'utf8'))
export const yes = (): Der => leafOf(types.boolean, Uint8Array.of(0xff))

/** OBJECT IDENTIFIER. */
export function oid(dotted: string): Der {
  const written = writtenOids.get(dotted) ?? leafOf(types.oid, oidBytes(dotted))
  writtenOids.set(dotted, written)
  return written
}
/** As many as our tables name: none that is written comes from outside. */
const writtenOids = new Map<string, Der>()

function oidBytes(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return Uint8Array.from(
    [40 * first + second, ...rest].flatMap((arc) => {
      const bytes = [arc % 128]
      for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) bytes.unshift(128 + (left % 128))
      return bytes
    }),
  )
}

/** BIT STRING; `unusedBits` are the low bits of the last byte that do not count. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Der {
  const content = new Uint8Array(bytes.length + 1)
  content[0] = unusedBits
  content.set(bytes, 1)
  return leafOf(types.bitString, content)
}

/** INTEGER from an unsigned big-endian number, in the shortest form. */
export function unsigned(bytes: Uint8Array): Der {
  const from = bytes.findIndex((byte) => byte !== 0)
  const short = from < 0 ? Uint8Array.of(0) : bytes.subarray(from)
  const signBit = ((short[0] ?? 0) & 0x80) !== 0
  return leafOf(types.integer, signBit ? Uint8Array.of(0, ...short) : short)
}

/** Context-specific tag: `inner` as its children (constructed), or as raw content (primitive). */
export const tagged = (tag: number, inner: Uint8Array | Der[]): Der =>
  inner instanceof Uint8Array ? leafOf(contextClass | tag, inner) : branchOf(contextClass | tag, inner)

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5); whole seconds. */
export function time(at: Date): Der {
  const iso = at.toISOString()
  const digits = `${iso.slice(0, 4)}${iso.slice(5, 7)}${iso.slice(8, 10)}${iso.slice(11, 13)}${iso.slice(14, 16)}${iso.slice(17, 19)}Z`
  return at.getUTCFullYear() < 2050
    ? leafOf(types.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : leafOf(types.generalizedTime, Buffer.from(digits, 'latin1'))
}

/** The bytes of `node`; of one that was read, a part of what was read. */
export const encode = (node: Der): Uint8Array => bytesOf(node)

/**
 * Reads exactly one DER value. Throws `invalid` where the bytes are not DER: trailing bytes, lengths or integers in a
 * longer form than needed, indefinite lengths. So two different inputs never read as one value, and `encode` of any part
 * gives back the bytes that were signed.
 */
export function decode(bytes: Uint8Array, what: string): Der {
  try {
    return readTlv(plain(bytes))
  } catch (cause) {
    throw malformed(what, 'it is not DER', cause)
  }
}

/** Not a Buffer: what is cut out of one shares its memory. */
const plain = (bytes: Uint8Array): Uint8Array =>
  bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)

const malformed = (what: string, reason: string, cause?: unknown): Problem =>
  new Problem('invalid', `${what} cannot be read: ${reason}`, { violations: [{ path: what, reason }], cause })

/** Children of a SEQUENCE, SET or constructed tag; throws `invalid` when `node` is absent or something else. */
export function childrenOf(node: Der | undefined, what: string): readonly Der[] {
  if (!node?.parts) throw malformed(what, 'a sequence is expected')
  return node.parts
}

/** Content bytes of a primitive value; throws `invalid` when `node` is absent or constructed. */
export function contentOf(node: Der | undefined, what: string): Uint8Array {
  if (!node?.source || node.parts) throw malformed(what, 'a plain value is expected')
  return node.source.subarray(node.from, node.from + node.length)
}

export const isTag = (node: Der | undefined, tag: number): node is Der =>
  node !== undefined && (node.tag & 0xdf) === (contextClass | tag)
const isUniversal = (node: Der | undefined, type: UniversalType): node is Der =>
  node !== undefined && (node.tag & 0xdf) === type

export const isBoolean = (node: Der | undefined): node is Der => isUniversal(node, types.boolean)
export const isInteger = (node: Der | undefined): node is Der => isUniversal(node, types.integer)

function need(node: Der | undefined, type: UniversalType, what: string): Der {
  if (!isUniversal(node, type)) throw malformed(what, `${names.get(type)} is expected`)
  return node
}
const names = new Map<UniversalType, string>([
  [types.boolean, 'BOOLEAN'],
  [types.integer, 'INTEGER'],
  [types.bitString, 'BIT STRING'],
  [types.octetString, 'OCTET STRING'],
  [types.oid, 'OBJECT IDENTIFIER'],
  [types.sequence, 'SEQUENCE'],
  [types.set, 'SET'],
])

export const itemsOf = (node: Der | undefined, what: string): readonly Der[] =>
  childrenOf(need(node, types.sequence, what), what)
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
  childrenOf(need(node, types.set, what), what)
export const octetsOf = (node: Der | undefined, what: string): Uint8Array =>
  contentOf(need(node, types.octetString, what), what)

export function oidOf(node: Der | undefined, what: string): string {
  const dotted = dottedOf(contentOf(need(node, types.oid, what), what))
  if (dotted === undefined) throw malformed(what, 'an object identifier is broken')
  return dotted
}

/** Undefined for what is no identifier in its one form, and for numbers past 32 bits. */
function dottedOf(content: Uint8Array): string | undefined {
  let dotted = ''
  let arc = 0
  let isWhole = true
  for (const byte of content) {
    if (isWhole && byte === 0x80) return undefined
    arc = (isWhole ? 0 : arc * 128) + (byte & 0x7f)
    if (arc > 0xffff_ffff) return undefined
    isWhole = byte < 0x80
    if (isWhole) dotted += dotted === '' ? firstArcs(arc) : `.${arc}`
  }
  return isWhole && dotted !== '' ? dotted : undefined
}

const firstArcs = (joined: number): string => {
  const first = Math.min(2, Math.floor(joined / 40))
  return `${first}.${joined - 40 * first}`
}

/** Whole bytes of a BIT STRING (signatures, keys): unused bits are refused. */
export function bitsOf(node: Der | undefined, what: string): Uint8Array {
  const { bytes, unusedBits } = flagsOf(node, what)
  if (unusedBits !== 0) throw malformed(what, 'a bit string does not end at a byte')
  return bytes
}

export function flagsOf(node: Der | undefined, what: string): { bytes: Uint8Array; unusedBits: number } {
  const content = contentOf(need(node, types.bitString, what), what)
  const unusedBits = content[0]
  const last = content.length > 1 ? (content.at(-1) ?? 0) : 0
  const isPadded = (last & ((1 << (unusedBits ?? 0)) - 1)) === 0 && (content.length > 1 || unusedBits === 0)
  if (unusedBits === undefined || unusedBits > 7 || !isPadded) throw malformed(what, 'a bit string is broken')
  return { bytes: content.subarray(1), unusedBits }
}

/** Non-negative INTEGER as big-endian bytes without the sign byte. */
export function unsignedOf(node: Der | undefined, what: string): Uint8Array {
  const content = contentOf(need(node, types.integer, what), what)
  if (content.length === 0 || ((content[0] ?? 0) & 0x80) !== 0) throw malformed(what, 'a negative number')
  return content.length > 1 && content[0] === 0 ? content.subarray(1) : content
}

export function smallNumberOf(node: Der | undefined, what: string): number {
  const bytes = unsignedOf(node, what)
  if (bytes.length > 2) throw malformed(what, 'a number out of range')
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0)
}

/** UTCTime or GeneralizedTime in the form RFC 5280 asks: to the second, in UTC. */
export function timeOf(node: Der | undefined, what: string): Date {
  const text = Buffer.from(contentOf(node, what)).toString('latin1')
  const short = isUniversal(node, types.utcTime) && /^[0-9]{12}Z$/.test(text)
  const long = isUniversal(node, types.generalizedTime) && /^[0-9]{14}Z$/.test(text)
  if (!short && !long) throw malformed(what, 'a date is not in the form of RFC 5280')
  const digits = long ? text : (text < '5' ? '20' : '19') + text
  const part = (at: number, wide = 2): number => Number(digits.slice(at, at + wide))
  const [year, month, day, hour, minute, second] = [part(0, 4), part(4), part(6), part(8), part(10), part(12)]
  const at = new Date(Date.UTC(year, month - 1, day, hour, minute, second))
  const isThere =
    at.getUTCFullYear() === year &&
    at.getUTCMonth() === month - 1 &&
    at.getUTCDate() === day &&
    at.getUTCHours() === hour &&
    at.getUTCMinutes() === minute &&
    at.getUTCSeconds() === second
  if (!isThere) throw malformed(what, 'a date does not exist')
  return at
}

/** What may stand in a string of each type; those without an entry are UTF-8. */
const characters = new Map<UniversalType, RegExp>([
  [types.printable, /^[A-Za-z0-9 '()+,./:=?&*-]*$/],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: IA5 is ASCII, control characters among it.
  [types.ia5, /^[\x00-\x7f]*$/],
  [types.numeric, /^[0-9 ]*$/],
])

/** True or false in the one byte that DER allows. */
export function flagOf(node: Der | undefined, what: string): boolean {
  const content = contentOf(need(node, types.boolean, what), what)
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
  if (isUniversal(node, types.teletex)) return undefined
  if (isUniversal(node, types.bmp) && content.length % 2 === 0) return undefined
  const type = [types.utf8, ...characters.keys()].find((one) => isUniversal(node, one))
  if (type === undefined) throw malformed(what, 'a name holds what is no text')
  const text = Buffer.from(content).toString('utf8')
  const isWhole = Buffer.from(text).equals(content) && (characters.get(type)?.test(text) ?? true)
  if (!isWhole) throw malformed(what, 'a name holds a text with what its type cannot hold')
  return text
}
