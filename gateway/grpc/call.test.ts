import fc from 'fast-check'
import { expect, test } from 'vitest'
import { grpcCall } from '#gateway/grpc/call.ts'
import type { Http2Stream } from '#gateway/grpc/http2-stream.ts'

type Written = { readonly pieces: readonly Buffer[]; readonly left: () => void }

/** The little of a stream that a write touches; nothing leaves before the test says so. */
function heldStream() {
  const written: Written[] = []
  let isOpen = true
  const nothing = () => undefined
  const stream: Http2Stream = {
    headers: [],
    ...{ read: nothing, pause: nothing, resume: nothing, onEnd: nothing, onClose: nothing },
    ...{ respond: nothing, reset: nothing, isOpen: () => isOpen },
    write: (pieces, left) => {
      if (isOpen) written.push({ pieces, left })
    },
    finish: () => {
      isOpen = false
    },
  }
  const caller = { address: '127.0.0.1:1', certificate: () => undefined, values: () => [] }
  return { written, call: grpcCall(stream, caller, 100) }
}

test('a message leaves in pieces of at most 16 kB, each when the one before has left, and whole in the end', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50_000 }), { maxLength: 6 }), (sizes) => {
      const message = sizes.map((size, at) => Buffer.alloc(size, at + 1))
      const { written, call } = heldStream()
      let taken = 0
      call.write(message, () => (taken += 1))
      for (let at = 0; at < written.length; at++) {
        expect(written).toHaveLength(at + 1)
        expect(taken).toBe(0)
        expect(Buffer.concat(written[at]?.pieces ?? []).length).toBeLessThanOrEqual(16 << 10)
        written[at]?.left()
      }
      expect(taken).toBe(1)
      expect(Buffer.concat(written.flatMap(({ pieces }) => pieces)).equals(Buffer.concat(message))).toBe(true)
    }),
  )
})

test('a call that was ended in the middle of a message writes no more of it', () => {
  const { written, call } = heldStream()
  call.write([Buffer.alloc(40_000)], () => undefined)
  call.end()
  written[0]?.left()
  expect(written).toHaveLength(1)
})
