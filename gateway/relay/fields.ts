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
