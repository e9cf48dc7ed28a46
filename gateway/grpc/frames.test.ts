import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frame, onMessages } from '#gateway/grpc/frames.ts'

test('messages come out whole, however the bytes are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
      async (messages, cuts) => {
        const bytes = Buffer.concat(messages.map((one) => frame(one)))
        const stream = new PassThrough()
        const seen: string[] = []
        onMessages(stream, 50, (message) => seen.push(Buffer.from(message).toString('hex')))
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = cuts[turn % cuts.length] ?? 1
          stream.write(bytes.subarray(at, at + size))
          at += size
        }
        stream.end()
        await new Promise((done) => stream.on('end', done))
        expect(seen).toEqual(messages.map((one) => Buffer.from(one).toString('hex')))
      },
    ),
  )
})
