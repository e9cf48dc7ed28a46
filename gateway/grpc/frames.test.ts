import { PassThrough } from 'node:stream'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frame, messagesFrom, onMessages } from '#gateway/grpc/frames.ts'

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

test('a message that comes byte by byte costs little more than its bytes, and comes out whole', () => {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const message = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251))
  const framed = frame(message)
  let heard: Buffer | undefined
  const take = messagesFrom(1 << 20, (whole) => {
    heard = Buffer.from(whole)
  })
  collect()
  const before = process.memoryUsage().heapUsed
  for (let at = 0; at < framed.length - 1; at++) {
    take(framed.subarray(at, at + 1))
    take(framed.subarray(at, at))
  }
  collect()
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(5 << 20)
  take(framed.subarray(-1))
  expect(heard?.equals(message)).toBe(true)
})
