import { randomBytes } from 'node:crypto'

/** Ids made in one millisecond count up from a random start in the 12 bits after the time. */
let last = { now: -1, count: 0 }

/**
 * A UUIDv7 (RFC 9562 §5.7, §6.2 method 1): `now` in its first 48 bits and a counter behind it, so that order by id is
 * order by time, and within one process and millisecond the order of making.
 */
export function newId(now: number, random: Uint8Array = randomBytes(10)): string {
  const bytes = Buffer.alloc(16)
  bytes.set(random.subarray(0, 10), 6)
  last = { now, count: last.now === now ? last.count + 1 : bytes.readUInt16BE(6) & 0x7ff }
  // Past 4096 ids in a millisecond the time is borrowed from the next ones.
  bytes.writeUIntBE(now + (last.count >> 12), 0, 6)
  bytes.writeUInt16BE(0x7000 | (last.count & 0xfff), 6)
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
