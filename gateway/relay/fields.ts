import { isAscii } from 'node:buffer'

/** Calls `take` for each field of wire type 2, with where its bytes begin and end; the others are stepped over. Throws on bytes that are none. */
export function eachField(
  bytes: Buffer,
  [from, to]: readonly [number, number],
  take: (field: number, from: number, to: number) => void,
): void {
  let at = from
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = at < to ? bytes[at] : undefined
      if (byte === undefined) throw new RangeError('a request that ends within a field')
      at += 1
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
    throw new RangeError('a request with a number of more than ten bytes')
  }
  while (at < to) {
    const tag = varint()
    const wire = tag & 7
    if (wire === 0) {
      varint()
      continue
    }
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : Number.NaN
    const end = at + length
    if (!(end <= to)) throw new RangeError('a request with a field that is cut off or of no known form')
    if (wire === 2) take(Math.floor(tag / 8), at, end)
    at = end
  }
}

/** The text between two places. */
export type Text = (from: number, to: number) => string

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Of a message. The quick way puts a sign of its own for bytes that are no text; the other throws at them. */
export const textIn =
  (bytes: Buffer): Text =>
  (from, to) => {
    const text = bytes.toString('utf8', from, to)
    return text.includes('\ufffd') ? utf8.decode(bytes.subarray(from, to)) : text
  }

/**
 * The same for places between `first` and `last`: parts of one text, where that is ASCII throughout. Four hundred strings
 * made one by one cost three times as much. They hold on to the whole.
 */
export function partOf(bytes: Buffer, first: number, last: number): Text {
  if (!isAscii(bytes.subarray(first, last))) return textIn(bytes)
  const whole = bytes.toString('latin1', first, last)
  return (from, to) => whole.slice(from - first, to - first)
}

/** What lies between these places: from, to, from, to, … */
export function textsOf(bytes: Buffer, places: readonly number[]): string[] {
  const [first, last] = [places[0], places.at(-1)]
  if (first === undefined || last === undefined) return []
  const text = partOf(bytes, first, last)
  return Array.from({ length: places.length / 2 }, (_, at) =>
    text(places[2 * at] as number, places[2 * at + 1] as number),
  )
}
