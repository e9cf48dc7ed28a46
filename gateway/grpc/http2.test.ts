import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Header, headerBlock } from '#gateway/grpc/hpack.ts'
import { serveHttp2 } from '#gateway/grpc/http2.ts'
import { flag, frameOf, frameTypes, headOf, numbersFrame } from '#gateway/grpc/http2-frames.ts'
import type { Http2Stream } from '#gateway/grpc/http2-stream.ts'

let server: Server
let serve: (stream: Http2Stream) => void
const port = () => (server.address() as AddressInfo).port

beforeAll(async () => {
  server = createServer((socket) => void serveHttp2(socket, (stream) => serve(stream)))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
})
afterAll(() => server.close())

const ok = headerBlock([[':status', '200']])
const over = headerBlock([['over', 'yes']])
const pieceBytes = 5000

/** Sends back what it is sent, in pieces of at most 5,000 bytes. */
function echo(stream: Http2Stream): void {
  const said: Buffer[] = []
  stream.read((part) => void said.push(part))
  stream.onEnd(() => {
    stream.respond(ok)
    const whole = Buffer.concat(said)
    const from = (at: number): void =>
      at >= whole.length
        ? stream.finish(over)
        : stream.write([whole.subarray(at, at + pieceBytes)], () => from(at + pieceBytes))
    from(0)
  })
}
beforeEach(() => {
  serve = echo
})

const request = { ':method': 'POST', ':path': '/', ':scheme': 'http', ':authority': 'a' }

function ask(session: ClientHttp2Session, body: Buffer, headers: Record<string, string> = {}): Promise<Buffer> {
  const call = session.request({ ...request, ...headers })
  const parts: Buffer[] = []
  call.on('data', (part: Buffer) => parts.push(part))
  return new Promise((done, fail) => {
    call.on('error', fail)
    call.on('end', () => done(Buffer.concat(parts)))
    call.end(body)
  })
}

describe('beside the HTTP/2 of Node', () => {
  test('headers are read as they were said, on one connection after the other request', async () => {
    const session = connectHttp2(`http://127.0.0.1:${port()}`)
    const name = fc.stringMatching(/^x-[a-z0-9-]{1,30}$/)
    const value = fc.stringMatching(/^[!-~]([ -~]{0,300}[!-~])?$/)
    let heard: readonly Header[] = []
    serve = (stream) => {
      heard = stream.headers
      stream.finish(ok)
    }
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, value, { maxKeys: 12 }), async (headers) => {
        await ask(session, Buffer.alloc(0), headers)
        expect(Object.fromEntries(heard)).toEqual({ ...request, ...headers })
      }),
      { numRuns: 300 },
    )
    session.destroy()
  })

  test('bodies come back whole, however narrow the windows are', async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 40_000 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 2000, max: 200_000 }), async (all, initialWindowSize) => {
        const session = connectHttp2(`http://127.0.0.1:${port()}`, { settings: { initialWindowSize } })
        const bodies = all.map((size, at) => Buffer.alloc(size, `${at} of ${size}`))
        const answers = await Promise.all(bodies.map((body) => ask(session, body)))
        for (const [at, answer] of answers.entries()) expect(answer.equals(bodies[at] ?? Buffer.alloc(1))).toBe(true)
        session.destroy()
      }),
      { numRuns: 20 },
    )
  })

  test('a client without a table for headers is answered', async () => {
    const session = connectHttp2(`http://127.0.0.1:${port()}`, { settings: { headerTableSize: 0 } })
    expect(String(await ask(session, Buffer.from('one')))).toBe('one')
    expect(String(await ask(session, Buffer.from('two')))).toBe('two')
    session.destroy()
  })

  test('to who is paused a window more is sent, and the rest when it goes on', async () => {
    const session = connectHttp2(`http://127.0.0.1:${port()}`)
    const heard: Http2Stream[] = []
    let bytes = 0
    serve = (stream) => {
      heard.push(stream)
      stream.read((part) => {
        bytes += part.length
        stream.pause()
      })
      stream.onEnd(() => stream.finish(ok))
    }
    await ask(session, Buffer.alloc(0))
    const sent = session.socket.bytesWritten
    heard.length = 0
    const answered = ask(session, Buffer.alloc(100_000))
    while (bytes === 0) await new Promise((done) => setTimeout(done, 5))
    await new Promise((done) => setTimeout(done, 50))
    // The part that was taken, and a window that waits.
    expect(session.socket.bytesWritten - sent).toBeLessThan(33 << 10)
    const going = setInterval(() => heard[0]?.resume(), 1)
    await answered
    clearInterval(going)
    expect(bytes).toBe(100_000)
    session.destroy()
  })
})

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const settings = frameOf(frameTypes.settings, 0, 0, Buffer.alloc(0))
const settingsAck = frameOf(frameTypes.settings, flag.ack, 0, Buffer.alloc(0))
const open = (id = 1, last = 0) =>
  frameOf(frameTypes.headers, flag.endHeaders | last, id, headerBlock(Object.entries(request)))
const data = (size: number, id = 1) => frameOf(frameTypes.data, 0, id, Buffer.alloc(size))
const empty = Buffer.alloc(0)
const many = (count: number, one: (n: number) => Buffer) =>
  Buffer.concat(Array.from({ length: count }, (_, n) => one(n)))

type Frame = { readonly type: number; readonly stream: number; readonly payload: Buffer }

const isData = ({ type }: Frame) => type === frameTypes.data
const bodyOf = (said: readonly Frame[]) => Buffer.concat(said.filter(isData).map(({ payload }) => payload))

/** Everything the server says to these bytes until it closes, has said `until`, or so many bytes of data. */
function say(bytes: Buffer, until?: (frame: Frame) => boolean, body = Infinity): Promise<readonly Frame[]> {
  return new Promise((done) => {
    const socket = connect(port(), '127.0.0.1', () => socket.write(bytes))
    const parts: Buffer[] = []
    socket.on('error', () => undefined)
    socket.on('data', (part: Buffer) => {
      parts.push(part)
      const said = framesOf(Buffer.concat(parts))
      if ((until && said.some(until)) || bodyOf(said).length >= body) socket.destroy()
    })
    socket.on('close', () => done(framesOf(Buffer.concat(parts))))
  })
}

function framesOf(bytes: Buffer): Frame[] {
  const all: Frame[] = []
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3)
    if (end > bytes.length) break
    all.push({ type: bytes[at + 3] ?? 0, stream: bytes.readUInt32BE(at + 5), payload: bytes.subarray(at + 9, end) })
    at = end
  }
  return all
}

describe('a client that breaks the rules hears why and is left', () => {
  const protocol = 1
  const calm = 11
  const { headers, continuation, ping, windowUpdate, resetStream } = frameTypes
  test.each<[string, number, Buffer]>([
    ['without the preface', protocol, Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a frame that is too long', protocol, Buffer.concat([preface, headOf(frameTypes.data, 0, 1, (16 << 10) + 1)])],
    ['data on a stream that nobody opened', protocol, Buffer.concat([preface, settings, data(1)])],
    ['a stream with an even number', protocol, Buffer.concat([preface, settings, open(2)])],
    ['headers on the connection', protocol, Buffer.concat([preface, open(0)])],
    ['headers that are interrupted', protocol, Buffer.concat([preface, frameOf(headers, 0, 1, empty), settings])],
    ['a continuation of nothing', protocol, Buffer.concat([preface, frameOf(continuation, 4, 1, empty)])],
    [
      'more padding than bytes',
      protocol,
      Buffer.concat([preface, open(), frameOf(0, flag.padded, 1, Buffer.from([9]))]),
    ],
    [
      'headers that are no such code',
      protocol,
      Buffer.concat([preface, frameOf(headers, 4, 1, Buffer.alloc(9, 0xff))]),
    ],
    [
      'settings that are cut off',
      protocol,
      Buffer.concat([preface, frameOf(frameTypes.settings, 0, 0, Buffer.alloc(5))]),
    ],
    ['a ping of the wrong length', protocol, Buffer.concat([preface, frameOf(ping, 0, 0, Buffer.alloc(7))])],
    ['a window that widens by nothing', protocol, Buffer.concat([preface, numbersFrame(windowUpdate, 0, 0)])],
    ['a window past its end', protocol, Buffer.concat([preface, numbersFrame(windowUpdate, 0, 2 ** 31 - 1)])],
    [
      'a stream window past its end',
      protocol,
      Buffer.concat([preface, open(), numbersFrame(windowUpdate, 1, 2 ** 31 - 1)]),
    ],
    ['a push', protocol, Buffer.concat([preface, open(), frameOf(frameTypes.pushPromise, 0, 1, Buffer.alloc(4))])],
    ['more than its stream may', protocol, Buffer.concat([preface, settingsAck, open(), data(16 << 10), data(1)])],
    [
      'more than its stream might before',
      protocol,
      Buffer.concat([preface, open(), settingsAck, data(16 << 10), data(1)]),
    ],
    [
      'headers without end',
      calm,
      Buffer.concat([
        preface,
        frameOf(headers, 0, 1, empty),
        many(9, () => frameOf(continuation, 0, 1, Buffer.alloc(4096))),
      ]),
    ],
    [
      'continuations of nothing',
      calm,
      Buffer.concat([preface, frameOf(headers, 0, 1, empty), many(1001, () => frameOf(continuation, 0, 1, empty))]),
    ],
    ['more headers than any call has', calm, Buffer.concat([preface, frameOf(headers, 5, 1, Buffer.alloc(101, 0x82))])],
    [
      'blocks of many headers without end',
      calm,
      Buffer.concat([preface, many(101, (n) => frameOf(headers, 5, 2 * n + 1, Buffer.alloc(95, 0x82)))]),
    ],
    ['pings without end', calm, Buffer.concat([preface, many(1001, () => frameOf(ping, 0, 0, Buffer.alloc(8)))])],
    ['windows without end', calm, Buffer.concat([preface, many(1001, () => numbersFrame(windowUpdate, 0, 1))])],
    ['data of a byte without end', calm, Buffer.concat([preface, open(), many(1001, () => data(1))])],
    [
      'padding without end',
      calm,
      Buffer.concat([
        preface,
        open(),
        many(1001, () => frameOf(0, flag.padded, 1, Buffer.from([8, ...Buffer.alloc(8)]))),
      ]),
    ],
    ['empty data without end', calm, Buffer.concat([preface, open(), many(1001, () => data(0))])],
    [
      'requests that are taken back without end',
      calm,
      Buffer.concat([
        preface,
        many(501, (n) => Buffer.concat([open(2 * n + 1), numbersFrame(resetStream, 2 * n + 1, 8)])),
      ]),
    ],
  ])('%s', async (_name, code, bytes) => {
    serve = () => undefined
    const goAway = (await say(bytes)).find(({ type }) => type === frameTypes.goAway)
    expect(goAway?.payload.readUInt32BE(4)).toBe(code)
  })

  test('who only pings is told so in the words of gRPC', async () => {
    const said = await say(
      Buffer.concat([preface, settings, open(), many(13, () => frameOf(ping, 0, 0, Buffer.alloc(8)))]),
    )
    const [goAway] = said.filter(({ type }) => type === frameTypes.goAway)
    expect(goAway?.payload.subarray(8).toString()).toBe('too_many_pings')
    expect(said.filter(({ type }) => type === ping)).toHaveLength(11)
  })

  test('a ping for each data that came is none too many: gRPC asks so how wide the line is', async () => {
    serve = (stream) => {
      stream.respond(ok)
      stream.read((part) => void stream.write([Buffer.from(part)], () => undefined))
    }
    const socket = connect(port(), '127.0.0.1', () =>
      socket.write(Buffer.concat([preface, settings, settingsAck, open()])),
    )
    let [answers, parts] = [0, empty]
    await new Promise<void>((done, fail) => {
      socket.on('close', () => fail(new Error(`the connection ended after ${answers} answers`)))
      socket.on('data', (part: Buffer) => {
        parts = Buffer.concat([parts, part])
        const now = framesOf(parts).filter(isData).length
        if (now === 0 && answers === 0) socket.write(data(100))
        if (now > answers) socket.write(Buffer.concat([frameOf(ping, 0, 0, Buffer.alloc(8)), data(100)]))
        answers = now
        if (answers >= 40) done()
      })
    })
    socket.destroy()
  })

  test('whatever it sends, others are served', async () => {
    const frame = fc
      .tuple(
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 0, max: 5 }),
        fc.uint8Array({ maxLength: 40 }),
      )
      .map(([type, flags, id, payload]) => frameOf(type, flags, id, Buffer.from(payload)))
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 12 }), async (frames) => {
        const ping = frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8, 7))
        const said = await say(
          Buffer.concat([preface, settings, ...frames, ping]),
          ({ type, payload }) => type === frameTypes.goAway || (type === frameTypes.ping && payload[0] === 7),
        )
        expect(said[0]?.type).toBe(frameTypes.settings)
      }),
      { numRuns: 300 },
    )
    const session = connectHttp2(`http://127.0.0.1:${port()}`)
    expect(String(await ask(session, Buffer.from('still there')))).toBe('still there')
    session.destroy()
  })

  test('the hundred and first request at a time is refused, and nothing else', async () => {
    serve = () => undefined
    const said = await say(
      Buffer.concat([preface, settings, many(101, (n) => open(2 * n + 1))]),
      ({ type }) => type === resetStream,
    )
    expect(said.filter(({ type }) => type === resetStream).map(({ stream }) => stream)).toEqual([201])
  })

  test('what comes byte by byte is read the same', async () => {
    const session = Buffer.concat([
      preface,
      settings,
      open(),
      data(3),
      frameOf(0, flag.endStream, 1, Buffer.from('end')),
    ])
    const socket = connect(port(), '127.0.0.1')
    socket.setNoDelay(true)
    const answer = new Promise<Buffer>((done) => {
      const parts: Buffer[] = []
      socket.on('data', (part: Buffer) => {
        parts.push(part)
        if (Buffer.concat(parts).includes('over')) done(Buffer.concat(parts))
      })
    })
    for (const byte of session) await new Promise((done) => socket.write(Buffer.from([byte]), done))
    const body = framesOf(await answer).filter(({ type }) => type === frameTypes.data)
    expect(Buffer.concat(body.map(({ payload }) => payload))).toEqual(Buffer.from('\0\0\0end'))
    socket.destroy()
  })
})

const windows = (...sizes: readonly number[]) =>
  frameOf(
    frameTypes.settings,
    0,
    0,
    Buffer.concat(sizes.map((size) => Buffer.from([0, 4, 0, 0, size >> 8, size & 255]))),
  )

test.each<[string, Buffer]>([
  ['by windows of a byte', many(500, () => numbersFrame(frameTypes.windowUpdate, 1, 1))],
  ['by settings', windows(...Array.from({ length: 501 }, (_, n) => n))],
])('who widens its window %s is sent few frames, and all of the message', async (_name, wider) => {
  serve = (stream) => {
    stream.respond(ok)
    stream.write([Buffer.alloc(500, 1), Buffer.alloc(500, 2)], () => undefined)
  }
  const said = await say(Buffer.concat([preface, windows(0), open(), wider]), undefined, 500)
  expect(bodyOf(said).equals(Buffer.alloc(500, 1))).toBe(true)
  expect(said.filter(isData).length).toBeLessThan(10)
})

test('a window below nothing holds what waits until it is above again', async () => {
  serve = (stream) => {
    stream.respond(ok)
    stream.write([Buffer.alloc(5000)], () => undefined)
  }
  const { windowUpdate } = frameTypes
  const wider = [500, 500, 500].map((bytes) => numbersFrame(windowUpdate, 1, bytes))
  const ping = frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8))
  const said = await say(Buffer.concat([preface, windows(1000), open(), windows(0), ...wider, ping]), undefined, 1500)
  expect(bodyOf(said)).toHaveLength(1500)
})

/** A connection whose far end reads nothing. */
class Deaf extends Socket {
  waiting = 0
  override _write(bytes: Buffer): void {
    this.waiting += bytes.length
  }
  override _writev(all: { chunk: Buffer }[]): void {
    for (const { chunk } of all) this.waiting += chunk.length
  }
}

describe('a client that reads nothing', () => {
  test('is told nothing before it has begun', () => {
    const socket = new Deaf()
    serveHttp2(socket, () => undefined).ping()
    expect(socket.waiting).toBe(0)
    socket.destroy()
  })

  test('holds no more than 2 MB and a piece, whatever it asks for and takes back', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const socket = new Deaf()
    serveHttp2(socket, (stream) => {
      stream.respond(ok)
      stream.write([Buffer.alloc(16_000)], () => undefined)
    })
    socket.emit('data', Buffer.concat([preface, numbersFrame(frameTypes.windowUpdate, 0, 2 ** 30)]))
    for (let id = 1; id < 2000 && socket.writable; id += 2) {
      vi.advanceTimersByTime(100)
      socket.emit('data', Buffer.concat([open(id), numbersFrame(frameTypes.resetStream, id, 8)]))
    }
    vi.useRealTimers()
    expect(socket.writable).toBe(false)
    expect(socket.writableLength).toBeLessThan((2 << 20) + (32 << 10))
    socket.destroy()
  })

  test('holds no more than some thousand small frames', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const socket = new Deaf()
    serveHttp2(socket, () => undefined)
    socket.emit('data', preface)
    let pings = 0
    for (; pings < 5000 && socket.writable; pings++) {
      vi.advanceTimersByTime(100)
      socket.emit('data', frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8)))
    }
    vi.useRealTimers()
    expect(pings).toBeLessThan(2100)
    socket.destroy()
  })
})
