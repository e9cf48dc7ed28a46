/** One DER value. What was read knows where it lies; what is to be written is put down once, with all around it. */
export type Der = {
  /** The first byte: class, whether it is constructed, number. */
  readonly tag: number
  /** Of the content, which begins at `from` in `source`; a constructed value to be written has its parts instead. */
  readonly length: number
  readonly source: Uint8Array | undefined
  readonly from: number
  /** Of a constructed value. */
  readonly parts: readonly Der[] | undefined
}

const constructedBit = 0x20
const numberMask = 0x1f
const integer = 2
const bmpString = 30
const depthMax = 32

/**
 * The one value that `source` is. Throws an Error that says what is not DER: bytes left over or missing, a length or an
 * integer in a longer form than needed, an indefinite length, half a character of two bytes. No tag numbers past 30 and no value past 16 MB: nothing
 * that is read here has them.
 */
export function readTlv(source: Uint8Array): Der {
  const value = read(source, { at: 0, limit: source.length, depth: 0 })
  if (value.from + value.length !== source.length) throw new Error('bytes are left over')
  return value
}

type Place = { readonly at: number; readonly limit: number; readonly depth: number }

function read(source: Uint8Array, { at, limit, depth }: Place): Der {
  if (depth === depthMax) throw new Error(`values lie in each other more than ${depthMax} deep`)
  const tag = byteAt(source, at, limit)
  if ((tag & numberMask) === numberMask) throw new Error('a tag has a number past 30')
  const first = byteAt(source, at + 1, limit)
  const from = at + 2 + (first < 0x80 ? 0 : first & 0x7f)
  const end = from + (first < 0x80 ? first : longLength(source, at + 2, Math.min(from, limit + 1)))
  if (end > limit) throw new Error('bytes are missing')
  if ((tag & constructedBit) === 0) {
    if ((tag & numberMask) === integer) checkInteger(source, from, end)
    if ((tag & numberMask) === bmpString && (end - from) % 2 === 1) throw new Error('half a character')
    return { tag, length: end - from, source, from, parts: undefined }
  }
  const parts: Der[] = []
  for (let next = from; next < end; ) {
    const part = read(source, { at: next, limit: end, depth: depth + 1 })
    parts.push(part)
    next = part.from + part.length
  }
  return { tag, length: end - from, source, from, parts }
}

function byteAt(source: Uint8Array, at: number, limit: number): number {
  const byte = at < limit ? source[at] : undefined
  if (byte === undefined) throw new Error('bytes are missing')
  return byte
}

function longLength(source: Uint8Array, from: number, end: number): number {
  if (end === from) throw new Error('a length is indefinite')
  if (end - from > 3) throw new Error('a value is longer than 16 MB')
  let length = 0
  for (let at = from; at < end; at++) length = length * 256 + byteAt(source, at, source.length)
  if (length < 0x80 || length < 256 ** (end - from - 1)) throw new Error('a length is not in its shortest form')
  return length
}

/** Also of context tag 2: where an integer stands under it (authorityCertSerialNumber), its type is not written down. */
function checkInteger(source: Uint8Array, from: number, end: number): void {
  const [first, second] = [source[from], source[from + 1] ?? 0]
  if (end - from < 2) return
  if ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))
    throw new Error('an integer is not in its shortest form')
}

/** A value of this tag with `content`. */
export const leafOf = (tag: number, content: Uint8Array): Der => ({
  ...{ tag, length: content.length, source: content, from: 0, parts: undefined },
})

/** A constructed value. `tag` with or without the bit that says so. */
export function branchOf(tag: number, parts: readonly Der[]): Der {
  let length = 0
  for (const part of parts) length += headLength(part.length) + part.length
  return { tag: tag | constructedBit, length, source: undefined, from: 0, parts }
}

/** The bytes of `value`: of one that was read, where they lie. */
export function bytesOf(value: Der): Uint8Array {
  const { source, from, length } = value
  const head = headLength(length)
  if (source && from >= head) return source.subarray(from - head, from + length)
  const bytes = new Uint8Array(head + length)
  write(value, bytes, 0)
  return bytes
}

const headLength = (length: number): number => (length < 0x80 ? 2 : length < 0x100 ? 3 : length < 0x1_0000 ? 4 : 5)

function write({ tag, length, source, from, parts = [] }: Der, into: Uint8Array, at: number): void {
  const head = headLength(length)
  into[at] = tag
  into[at + 1] = head === 2 ? length : 0x80 | (head - 2)
  for (let i = 0; i < head - 2; i++) into[at + head - 1 - i] = (length >>> (8 * i)) & 0xff
  let next = at + head
  if (source) into.set(source.subarray(from, from + length), next)
  else
    for (const part of parts) {
      write(part, into, next)
      next += headLength(part.length) + part.length
    }
}
