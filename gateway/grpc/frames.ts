import type { Readable } from 'node:stream'
import { Problem } from '#mesh/model/problem.ts'

const headBytes = 5

/** One message: a byte "not compressed", four of length, the bytes. Source: gRPC over HTTP/2, Length-Prefixed-Message. */
export const frame = (message: Uint8Array): Buffer => Buffer.concat([frameHead(message.length), message])

/** What goes before a message of so many bytes. */
export function frameHead(length: number): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUInt32BE(length, 1)
  return head
}

/** Where messages that came in parts are put together, one at a time: fresh memory for each costs as much as reading it. */
const bench = Buffer.allocUnsafeSlow(256 << 10)

/** So many parts of a message that is not whole yet are put together: one of a byte costs as much as one of two hundred. */
const loosePartsMax = 256

/**
 * Takes bytes as they come and calls `take` for each message, whose bytes are its own only until it returns. Throws
 * `invalid` at a message that is compressed or too long.
 */
export function messagesFrom(bytesMax: number, take: (message: Uint8Array) => void): (part: Buffer) => void {
  let parts: Buffer[] = []
  let size = 0
  let wanted = headBytes
  let loose = 0
  return (part) => {
    if (part.length === 0) return
    parts.push(part)
    size += part.length
    if (size < wanted) {
      loose += 1
      if (loose < loosePartsMax) return
      parts.push(Buffer.concat(parts.splice(-loose)))
      loose = 0
      return
    }
    loose = 0
    let pending = parts.length === 1 ? part : joined(parts, size)
    parts = []
    for (wanted = headBytes; pending.length >= wanted; wanted = headBytes) {
      const length = pending.readUInt32BE(1)
      if (pending[0] !== 0 || length > bytesMax)
        throw new Problem('invalid', `a message of ${length} bytes: compressed, or of more than ${bytesMax}`)
      wanted = headBytes + length
      if (pending.length < wanted) break
      const message = pending.subarray(headBytes, wanted)
      pending = pending.subarray(wanted)
      take(message)
    }
    size = pending.length
    if (size > 0) parts = [pending.buffer === bench.buffer ? Buffer.from(pending) : pending]
  }
}

function joined(parts: readonly Buffer[], size: number): Buffer {
  if (size > bench.length) return Buffer.concat(parts)
  let at = 0
  for (const part of parts) at += part.copy(bench, at)
  return bench.subarray(0, size)
}

/** Calls `take` for each message; a stream with a compressed or too long one, or on which `take` throws, is destroyed. */
export function onMessages(stream: Readable, bytesMax: number, take: (message: Uint8Array) => void): void {
  const onPart = messagesFrom(bytesMax, (message) => take(Buffer.from(message)))
  stream.on('data', (part: Buffer) => {
    try {
      onPart(part)
    } catch (cause) {
      stream.destroy(cause instanceof Error ? cause : new Error(String(cause)))
    }
  })
}
