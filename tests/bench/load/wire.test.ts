import fc from 'fast-check'
import { expect, test } from 'vitest'
import { framed, messageIn, unframer } from '#tests/bench/load/wire.ts'

test('messages come out whole and in order, wherever the stream is cut', () => {
  const message = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (messages, cuts) => {
      const stream = Buffer.concat(messages.map((one) => framed(one)))
      const seen: Buffer[] = []
      const sizes: number[] = []
      const take = unframer((pieces, bytes) => {
        seen.push(messageIn(Buffer.concat(pieces)))
        sizes.push(bytes)
      })
      for (let at = 0, n = 0; at < stream.length; n++) {
        const length = cuts[n % cuts.length] ?? 1
        take(stream.subarray(at, at + length))
        at += length
      }
      expect(seen).toEqual(messages)
      expect(sizes).toEqual(messages.map(({ length }) => length))
    }),
  )
})
