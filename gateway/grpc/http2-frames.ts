import { Problem } from '#mesh/model/problem.ts'

/** Source: RFC 9113, §6. */
export const frameTypes = {
  ...{ data: 0, headers: 1, priority: 2, resetStream: 3, settings: 4, pushPromise: 5, ping: 6, goAway: 7 },
  ...{ windowUpdate: 8, continuation: 9 },
} as const

export const flag = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const

/** Why a stream or a connection ends. Source: RFC 9113, §7. */
export const errorCodes = { none: 0, protocol: 1, internal: 2, refusedStream: 7, calm: 11 } as const

/** What the first bytes of every client are. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const headBytes = 9
/** The largest payload that either side sends: what all begin with, and nobody is asked for more. */
export const payloadBytesMax = 16 << 10
export const frameBytesMax = headBytes + payloadBytesMax

export type Http2Frame = {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/**
 * Takes the bytes of one client as they come, and `take` each frame. The payload of an unpadded DATA frame is handed on
 * as it comes, as if each part were a frame. Throws `invalid` at the first that is no HTTP/2.
 */
export function frameReader(take: (frame: Http2Frame) => void): (part: Buffer) => void {
  let pending: Buffer = nothing
  let greeted = false
  let current: { readonly frame: Http2Frame; left: number } | undefined

  const greet = (): boolean => {
    const length = Math.min(pending.length, preface.length)
    if (preface.compare(pending, 0, length, 0, length) !== 0) throw new Problem('invalid', 'a client without HTTP/2')
    if (length < preface.length) return false
    pending = pending.subarray(preface.length)
    greeted = true
    return true
  }
  const begin = (): boolean => {
    if (pending.length < headBytes) return false
    const left = pending.readUIntBE(0, 3)
    if (left > payloadBytesMax) throw new Problem('invalid', `a frame of ${left} bytes`)
    const stream = pending.readUInt32BE(5) & 0x7f_ff_ff_ff
    current = { frame: { type: pending[3] ?? 0, flags: pending[4] ?? 0, stream, payload: nothing }, left }
    pending = pending.subarray(headBytes)
    return true
  }
  /** Hands on what is there of the current frame, where that is enough. */
  const go = (): boolean => {
    if (!current) return false
    const { frame, left } = current
    const isData = frame.type === frameTypes.data && (frame.flags & flag.padded) === 0
    if (pending.length < left && !(isData && pending.length > 0)) return false
    const payload = pending.subarray(0, left)
    pending = pending.subarray(payload.length)
    current.left -= payload.length
    const isWhole = current.left === 0
    if (isWhole) current = undefined
    take({ ...frame, flags: isWhole ? frame.flags : 0, payload })
    return true
  }

  return (part) => {
    pending = pending.length === 0 ? part : Buffer.concat([pending, part])
    while (greeted ? (current ? go() : begin()) : greet());
    if (pending.length === 0) pending = nothing
  }
}
const nothing = Buffer.alloc(0)

/** The head of a frame, which its payload follows. */
export function headOf(type: number, flags: number, stream: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(headBytes)
  head.writeUIntBE(length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return head
}

export const frameOf = (type: number, flags: number, stream: number, payload: Buffer): Buffer =>
  Buffer.concat([headOf(type, flags, stream, payload.length), payload])

/** A frame whose payload is numbers of four bytes each. */
export const numbersFrame = (type: number, stream: number, ...numbers: readonly number[]): Buffer =>
  frameOf(type, 0, stream, numbersOf(numbers))

/** The last word to a client: the last stream that was looked at, why, and the same in words. */
export const goAwayFrame = (lastStream: number, code: number, why: string): Buffer =>
  frameOf(frameTypes.goAway, 0, 0, Buffer.concat([numbersOf([lastStream, code]), Buffer.from(why)]))

function numbersOf(numbers: readonly number[]): Buffer {
  const payload = Buffer.allocUnsafe(numbers.length * 4)
  for (const [at, value] of numbers.entries()) payload.writeUInt32BE(value, at * 4)
  return payload
}

/** The payload without its padding, and for headers without the priority that nobody follows. Throws `invalid`. */
export function unpadded({ type, flags, payload }: Http2Frame): Buffer {
  const isPadded = type !== frameTypes.continuation && (flags & flag.padded) > 0
  const padding = isPadded ? (payload[0] ?? 0) : 0
  const from = (isPadded ? 1 : 0) + (type === frameTypes.headers && flags & flag.priority ? 5 : 0)
  if (from + padding > payload.length) throw new Problem('invalid', 'a frame with more padding than bytes')
  return payload.subarray(from, payload.length - padding)
}
