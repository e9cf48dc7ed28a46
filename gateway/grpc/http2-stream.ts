import type { Header } from '#gateway/grpc/hpack.ts'
import { errorCodes, payloadBytesMax } from '#gateway/grpc/http2-frames.ts'
import { Problem } from '#mesh/model/problem.ts'

/** One request of a client and its answer, until both are said or one side gave up. What comes too late does nothing. */
export type Http2Stream = {
  readonly headers: readonly Header[]
  /** Nothing is read from the client before somebody listens. */
  readonly read: (take: (part: Buffer) => void) => void
  readonly pause: () => void
  readonly resume: () => void
  /** The client said all that it had to say. */
  readonly onEnd: (listener: () => void) => void
  readonly onClose: (listener: () => void) => void
  readonly respond: (block: Buffer) => void
  /** Bytes in pieces, together at most `payloadBytesMax`; `taken` once they have left. One write at a time. */
  readonly write: (pieces: readonly Buffer[], taken: () => void) => void
  /** Headers after which nothing follows; what was written before goes first. */
  readonly finish: (block: Buffer) => void
  readonly reset: (code: number) => void
  /** True until the answer is whole. */
  readonly isOpen: () => boolean
}

export type Payload = { readonly pieces: readonly Buffer[]; readonly size: number }

/** What a stream needs of its connection. */
export type StreamLine = {
  readonly headers: (block: Buffer, last: boolean) => void
  /** How many bytes the client would take on the whole connection. */
  readonly room: () => number
  readonly data: (payload: Payload, taken: () => void) => void
  /** Tells the client that it may send so much more. */
  readonly grant: (bytes: number) => void
  readonly reset: (code: number) => void
  /** Nothing more is to come: called once. */
  readonly closed: () => void
}

/** The side of a stream that its connection drives. */
export type StreamEnd = {
  readonly stream: Http2Stream
  /** Part of the request; `bytes` of the window are spent for it. Throws `invalid` when the client had no right to them. */
  readonly take: (part: Buffer, bytes: number) => void
  readonly ended: () => void
  /** The client knows now what one stream may send ahead. */
  readonly narrow: () => void
  /** The client takes so many more, or fewer, bytes. Throws `invalid` past what a window may be. */
  readonly widen: (bytes: number) => void
  /** The connection has room again. */
  readonly flush: () => void
  readonly close: () => void
}

/** What a client may send ahead on one stream: memory that its connection keeps from then on. */
export const streamWindow = 16 << 10
/** What it may before it knows that; and on the whole connection. Source: RFC 9113, §6.9.2. */
export const startWindow = 65_535
export const windowMax = 2 ** 31 - 1

export type Windows = { readonly ours: number; readonly theirs: number }

export function http2Stream(headers: readonly Header[], start: Windows, line: StreamLine): StreamEnd {
  let window = start.theirs
  let waiting: { readonly payload: Payload; readonly taken: () => void } | undefined
  let isLeaving = false
  let last: Buffer | undefined
  let isOpen = true
  let isClosed = false

  let reader: ((part: Buffer) => void) | undefined
  let held: { readonly part: Buffer; readonly bytes: number }[] = []
  let isPaused = false
  let granted = start.ours
  let owed = 0
  let hasEnded = false
  let onEnd = nothing
  let onClose = nothing

  const close = () => {
    if (isClosed) return
    isClosed = true
    isOpen = false
    waiting = undefined
    held = []
    line.closed()
    onClose()
  }
  const finishNow = (block: Buffer) => {
    line.headers(block, true)
    // Whoever still talks to us hears that nobody listens. Source: RFC 9113, §8.1.
    if (!hasEnded || held.length > 0) line.reset(errorCodes.none)
    close()
  }
  const flush = () => {
    if (!waiting || isLeaving) return
    const { payload, taken } = waiting
    const size = Math.max(0, Math.min(window, line.room(), payload.size))
    if (size === 0) return
    window -= size
    if (size < payload.size) {
      const [only, ...more] = payload.pieces
      const whole = only && more.length === 0 ? only : Buffer.concat(payload.pieces)
      waiting = { payload: { pieces: [whole.subarray(size)], size: whole.length - size }, taken }
      // One part at a time: a client that widens its window byte by byte would have us keep a frame for each.
      isLeaving = true
      return line.data({ pieces: [whole.subarray(0, size)], size }, () => {
        isLeaving = false
        flush()
      })
    }
    waiting = undefined
    line.data(payload, taken)
    if (last) finishNow(last)
  }
  const give = (part: Buffer, bytes: number) => {
    reader?.(part)
    owed += bytes
    if (owed < streamWindow / 2 || isClosed || hasEnded) return
    granted += owed
    line.grant(owed)
    owed = 0
  }
  const drain = () => {
    while (!isPaused && reader && !isClosed) {
      const next = held.shift()
      if (!next) break
      give(next.part, next.bytes)
    }
    if (!hasEnded || held.length > 0 || isClosed) return
    onEnd()
    onEnd = nothing
  }

  const stream: Http2Stream = {
    headers,
    read: (take) => {
      reader = take
      drain()
    },
    pause: () => {
      isPaused = true
    },
    resume: () => {
      isPaused = false
      drain()
    },
    onEnd: (listener) => {
      onEnd = listener
    },
    onClose: (listener) => {
      onClose = listener
    },
    respond: (block) => {
      if (isOpen) line.headers(block, false)
    },
    write: (pieces, taken) => {
      if (!isOpen) return
      const size = pieces.reduce((sum, piece) => sum + piece.length, 0)
      if (waiting || size > payloadBytesMax) throw new Problem('internal', 'a second write, or a large one')
      waiting = { payload: { pieces, size }, taken }
      flush()
    },
    finish: (block) => {
      if (!isOpen) return
      isOpen = false
      if (waiting) last = block
      else finishNow(block)
    },
    reset: (code) => {
      if (isClosed) return
      line.reset(code)
      close()
    },
    isOpen: () => isOpen,
  }
  return {
    stream,
    take: (part, bytes) => {
      granted -= bytes
      if (granted < 0) throw new Problem('invalid', 'a client that sends more than its stream may')
      if (isClosed || hasEnded) return
      held.push({ part, bytes })
      if (held.length > partsMax) held = [{ part: Buffer.concat(held.map((one) => one.part)), bytes: sumOf(held) }]
      drain()
    },
    ended: () => {
      hasEnded = true
      drain()
    },
    narrow: () => {
      granted -= start.ours - streamWindow
    },
    widen: (bytes) => {
      window += bytes
      if (window > windowMax) throw new Problem('invalid', 'a window that is too wide')
      flush()
    },
    flush,
    close,
  }
}

const nothing = (): void => undefined

/** More parts that wait are put together: a part of one byte costs as much as one of two hundred. */
const partsMax = 256
const sumOf = (held: readonly { readonly bytes: number }[]): number => held.reduce((sum, { bytes }) => sum + bytes, 0)
