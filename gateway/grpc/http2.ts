import type { Socket } from 'node:net'
import { headerReader } from '#gateway/grpc/hpack.ts'
import {
  errorCodes,
  flag,
  frameBytesMax,
  frameOf,
  frameReader,
  frameTypes,
  goAwayFrame,
  type Http2Frame,
  headOf,
  numbersFrame,
  unpadded,
} from '#gateway/grpc/http2-frames.ts'
import {
  type Http2Stream,
  http2Stream,
  type Payload,
  type StreamEnd,
  startWindow,
  streamWindow,
  type Windows,
  windowMax,
} from '#gateway/grpc/http2-stream.ts'
import { Problem } from '#mesh/model/problem.ts'

/** `left` is called once the bytes have left; not at all when they cannot. */
type Send = (bytes: Buffer, left?: () => void) => void

/** One client's connection. */
export type Http2Connection = {
  /** Asks for a sign of life; anything that comes is one. */
  readonly ping: () => void
  /** True when anything came since the last ping. */
  readonly isAlive: () => boolean
  readonly destroy: () => void
}

const streamsMax = 100
const headersBytesMax = 32 << 10
/** Frames without a message that a client may send in a second; each of ours with data may be answered by a few more. */
const idleFramesMax = 1000
const answersPerData = 4
/** Headers that are read for the price of a frame. */
const headersPerFrame = 10
/**
 * Pings that come sooner than this after the one before, with nothing of ours to a stream between them, are counted. Our
 * data forgives all: gRPC asks how wide a line is by a ping for the data that it gets.
 */
const pingMsMin = 1000
const strikesMax = 10
/** What may wait for a client that sends and does not read: a piece on each stream, and the small frames of a second. */
const unreadMax = { writes: 2 * idleFramesMax, bytes: 2 << 20 }
/** A part of a message that is smaller than any honest one. */
const tinyBytes = 64

const settings = numbersOfSettings([
  [3, streamsMax],
  [4, streamWindow],
  [6, headersBytesMax],
])
const settingsAck = frameOf(frameTypes.settings, flag.ack, 0, Buffer.alloc(0))

/**
 * Speaks HTTP/2 on a connection whose TLS is made; `onStream` is called for each request. A client that breaks the
 * protocol, or floods its connection, hears GOAWAY and is left. Source: RFC 9113; it has no push, priorities or
 * upgrade, and answers of ours are not compressed.
 */
export function serveHttp2(socket: Socket, onStream: (stream: Http2Stream) => void): Http2Connection {
  const streams = new Map<number, StreamEnd>()
  const readHeaders = headerReader(headersBytesMax)
  let greeted = false
  let over = false
  let alive = true
  let lastStream = 0
  let block: { readonly stream: number; readonly last: boolean; readonly parts: Buffer[]; size: number } | undefined
  let clientWindow = startWindow
  let starts: Windows = { ours: startWindow, theirs: startWindow }
  let granted = startWindow
  let owed = 0
  let idle = { frames: 0, since: 0 }
  let unread = 0
  const pings = { at: Number.NEGATIVE_INFINITY, strikes: 0 }

  const send: Send = (bytes, left) => {
    if (!socket.writable) return
    unread += 1
    socket.write(bytes, (error) => {
      unread -= 1
      if (!error) left?.()
    })
  }
  const checkUnread = () => {
    if (unread > unreadMax.writes || socket.writableLength > unreadMax.bytes)
      throw new Problem('too-many', 'a client that does not read its answers')
  }
  const spend = (frames = 1) => {
    const now = performance.now()
    if (now - idle.since > 1000) idle = { frames: Math.max(-idleFramesMax, Math.min(idle.frames, 0)), since: now }
    idle.frames += frames
    if (idle.frames > idleFramesMax) throw new Problem('too-many', 'a client that sends frames without a message')
  }
  const strike = () => {
    const now = performance.now()
    if (now - pings.at < pingMsMin) pings.strikes += 1
    pings.at = now
    // gRPC's own word for it: a client that hears it pings less (grpc/grpc, doc/keepalive.md).
    if (pings.strikes > strikesMax) throw new Problem('too-many', 'too_many_pings')
  }
  const closeAll = () => {
    over = true
    for (const stream of [...streams.values()]) stream.close()
  }
  const fail = (cause: unknown) => {
    const kind = cause instanceof Problem ? cause.kind : 'internal'
    const code = kind === 'invalid' ? errorCodes.protocol : kind === 'too-many' ? errorCodes.calm : errorCodes.internal
    send(goAwayFrame(lastStream, code, cause instanceof Problem ? cause.message : ''))
    closeAll()
    socket.end()
    setTimeout(() => socket.destroy(), 1000).unref()
  }

  const open = (id: number, headers: ReturnType<typeof readHeaders>): StreamEnd => {
    const end = http2Stream(headers, starts, {
      headers: (bytes, last) => {
        pings.strikes = 0
        send(frameOf(frameTypes.headers, flag.endHeaders | (last ? flag.endStream : 0), id, bytes))
      },
      room: () => clientWindow,
      data: (payload, taken) => {
        clientWindow -= payload.size
        idle.frames -= answersPerData
        pings.strikes = 0
        sendData(send, id, payload, taken)
      },
      grant: (bytes) => send(numbersFrame(frameTypes.windowUpdate, id, bytes)),
      reset: (code) => send(numbersFrame(frameTypes.resetStream, id, code)),
      closed: () => streams.delete(id),
    })
    streams.set(id, end)
    return end
  }

  const onBlock = (id: number, bytes: Buffer, last: boolean) => {
    const headers = readHeaders(bytes)
    spend(Math.floor(headers.length / headersPerFrame))
    const known = streams.get(id)
    if (known && !last) throw new Problem('invalid', 'trailers after which more is to come')
    if (known) return known.ended()
    if (id <= lastStream) return
    if (id % 2 === 0) throw new Problem('invalid', `a client that opens stream ${id}`)
    lastStream = id
    if (streams.size >= streamsMax) return send(numbersFrame(frameTypes.resetStream, id, errorCodes.refusedStream))
    const { stream, ended } = open(id, headers)
    onStream(stream)
    if (last) ended()
  }
  const onHeaders = (frame: Http2Frame) => {
    const part = unpadded(frame)
    spend()
    block ??= { stream: frame.stream, last: (frame.flags & flag.endStream) > 0, parts: [], size: 0 }
    block.parts.push(part)
    block.size += part.length
    if (block.size > headersBytesMax) throw new Problem('too-many', `more than ${headersBytesMax} bytes of headers`)
    if (!(frame.flags & flag.endHeaders)) return
    const { stream, last, parts } = block
    block = undefined
    onBlock(stream, Buffer.concat(parts), last)
  }
  const onData = (frame: Http2Frame) => {
    const part = unpadded(frame)
    const size = frame.payload.length
    granted -= size
    if (granted < 0) throw new Problem('invalid', 'a client that sends more than its connection may')
    owed += size
    if (owed >= startWindow / 2) {
      send(numbersFrame(frameTypes.windowUpdate, 0, owed))
      granted += owed
      owed = 0
    }
    const last = (frame.flags & flag.endStream) > 0
    if (part.length < tinyBytes && !last) spend()
    const stream = streams.get(frame.stream)
    if (size > 0) stream?.take(part, size)
    if (last) stream?.ended()
  }
  const narrow = () => {
    if (starts.ours === streamWindow) return
    starts = { ...starts, ours: streamWindow }
    for (const stream of streams.values()) stream.narrow()
  }
  const onSettings = ({ flags, payload }: Http2Frame) => {
    if (flags & flag.ack) return narrow()
    if (payload.length % 6 !== 0) throw new Problem('invalid', 'settings that are cut off')
    let next = starts.theirs
    for (let at = 0; at < payload.length; at += 6)
      if (payload.readUInt16BE(at) === 4) next = payload.readUInt32BE(at + 2)
    if (next > windowMax) throw new Problem('invalid', 'a window that is too wide')
    const difference = next - starts.theirs
    starts = { ...starts, theirs: next }
    send(settingsAck)
    if (difference !== 0) for (const stream of [...streams.values()]) stream.widen(difference)
  }
  const onWindowUpdate = ({ stream, payload }: Http2Frame) => {
    spend()
    const bytes = payload.readUInt32BE(0) & windowMax
    if (bytes === 0) throw new Problem('invalid', 'a window that widens by nothing')
    if (stream > 0) return streams.get(stream)?.widen(bytes)
    clientWindow += bytes
    if (clientWindow > windowMax) throw new Problem('invalid', 'a window that is too wide')
    for (const one of [...streams.values()]) one.flush()
  }

  const onFrame = (frame: Http2Frame) => {
    if (over) return
    const { type, stream } = frame
    if (block && (type !== frameTypes.continuation || stream !== block.stream))
      throw new Problem('invalid', 'headers that are interrupted')
    checkPlace(frame, lastStream)
    if (type === frameTypes.data) return onData(frame)
    if (type === frameTypes.windowUpdate) return onWindowUpdate(frame)
    if (type === frameTypes.headers || (type === frameTypes.continuation && block)) return onHeaders(frame)
    spend()
    if (type === frameTypes.settings) return onSettings(frame)
    if (type === frameTypes.ping && !(frame.flags & flag.ack)) {
      strike()
      return send(frameOf(frameTypes.ping, flag.ack, 0, frame.payload))
    }
    if (type === frameTypes.resetStream) streams.get(stream)?.close()
    if (type === frameTypes.pushPromise || type === frameTypes.continuation)
      throw new Problem('invalid', 'a frame that no client sends')
  }

  const read = frameReader(onFrame)
  socket.on('data', (part: Buffer) => {
    alive = true
    if (over) return
    // What one part of the request makes us say leaves together.
    socket.cork()
    try {
      if (!greeted) send(settings)
      greeted = true
      checkUnread()
      read(part)
    } catch (cause) {
      fail(cause)
    }
    socket.uncork()
  })
  socket.on('error', () => socket.destroy())
  socket.once('close', closeAll)

  return {
    ping: () => {
      alive = false
      // Before the settings a client may be told nothing.
      if (greeted) send(frameOf(frameTypes.ping, 0, 0, Buffer.alloc(8)))
    },
    isAlive: () => alive,
    destroy: () => socket.destroy(),
  }
}

/** Throws `invalid` for a frame of the wrong length, or where no such frame belongs. */
function checkPlace({ type, stream, payload }: Http2Frame, lastStream: number): void {
  const ofConnection = type === frameTypes.settings || type === frameTypes.ping || type === frameTypes.goAway
  const ofStream = type <= frameTypes.resetStream
  const length = lengths.get(type) ?? payload.length
  if (payload.length !== length) throw new Problem('invalid', `a frame of type ${type} with ${payload.length} bytes`)
  if ((ofConnection && stream !== 0) || (ofStream && stream === 0))
    throw new Problem('invalid', `a frame of type ${type} on stream ${stream}`)
  if (stream > lastStream && ofStream && type !== frameTypes.headers && type !== frameTypes.priority)
    throw new Problem('invalid', `a frame on stream ${stream}, which nobody opened`)
}

const lengths: ReadonlyMap<number, number> = new Map([
  [frameTypes.priority, 5],
  [frameTypes.resetStream, 4],
  [frameTypes.ping, 8],
  [frameTypes.windowUpdate, 4],
])

/** Frames up to this size are put together in memory of their own, larger ones in what is used again. */
const smallBytes = 4 << 10
let latest: { readonly stream: number; readonly bytes: Buffer; readonly frame: Buffer } | undefined
const spare: Buffer[] = []
const spareMax = 64

/** A small change goes to many connections one after the other, on nearly all as the first stream: one frame serves all. */
function sendData(send: Send, stream: number, { pieces, size }: Payload, taken: () => void): void {
  const [only] = pieces
  if (only && pieces.length === 1 && size <= smallBytes) {
    if (latest?.bytes !== only || latest.stream !== stream)
      latest = { stream, bytes: only, frame: frameOf(frameTypes.data, 0, stream, only) }
    send(latest.frame, taken)
    return
  }
  const room = spare.pop() ?? Buffer.allocUnsafeSlow(frameBytesMax)
  let at = headOf(frameTypes.data, 0, stream, size).copy(room)
  for (const piece of pieces) at += piece.copy(room, at)
  send(room.subarray(0, at), () => {
    if (spare.length < spareMax) spare.push(room)
    taken()
  })
}

function numbersOfSettings(all: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(all.length * 6)
  for (const [at, [id, value]] of all.entries()) {
    payload.writeUInt16BE(id, at * 6)
    payload.writeUInt32BE(value, at * 6 + 2)
  }
  return frameOf(frameTypes.settings, 0, 0, payload)
}
