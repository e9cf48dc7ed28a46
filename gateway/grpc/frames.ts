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

/** Calls `take` for each message; a stream with a compressed or too long one, or on which `take` throws, is reset. */
export function onMessages(stream: Readable, bytesMax: number, take: (message: Uint8Array) => void): void {
  let parts: Buffer[] = []
  let size = 0
  let wanted = headBytes
  stream.on('data', (part: Buffer) => {
    parts.push(part)
    size += part.length
    if (size < wanted) return
    let pending = parts.length === 1 ? part : Buffer.concat(parts)
    try {
      for (wanted = headBytes; pending.length >= wanted; wanted = headBytes) {
        const length = pending.readUInt32BE(1)
        if (pending[0] !== 0 || length > bytesMax)
          throw new Problem('invalid', `a compressed message, or one of ${length} bytes`)
        wanted = headBytes + length
        if (pending.length < wanted) break
        const message = pending.subarray(headBytes, wanted)
        pending = pending.subarray(wanted)
        take(message)
      }
    } catch (cause) {
      stream.destroy(cause instanceof Error ? cause : new Error(String(cause)))
    }
    parts = pending.length === 0 ? [] : [pending]
    size = pending.length
  })
}
