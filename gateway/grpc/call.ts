import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { messagesFrom } from '#gateway/grpc/frames.ts'
import { type Header, headerBlock } from '#gateway/grpc/hpack.ts'
import type { Http2Stream } from '#gateway/grpc/http2-stream.ts'
import { Problem, problemKinds } from '#mesh/model/problem.ts'

/** Who calls, and the headers of the call. */
export type Caller = {
  /** `host:port` of the far end. */
  readonly address: string
  /**
   * The client's certificate where TLS verified it; whether it is still in its time is for the reader to look at. Read
   * from the connection whenever it is asked for: nobody should keep 4 kB for each call.
   */
  readonly certificate: () => X509Certificate | undefined
  /** All values of a header, by lower-case name. */
  readonly values: (name: string) => readonly string[]
}

/** One call that a client opened, until one side ends it. */
export type GrpcCall = {
  readonly caller: Caller
  /** Sends the headers, so that the client knows that it is heard. */
  readonly open: () => void
  /** Nothing is read from the client before somebody listens. */
  readonly onMessage: (take: (message: Uint8Array) => void) => void
  readonly pause: () => void
  readonly resume: () => void
  /** The client said all that it had to say. */
  readonly onEnd: (listener: () => void) => void
  /** The call is over, whoever ended it. */
  readonly onClose: (listener: () => void) => void
  /** Writes a framed message that is there in pieces; `taken` once the last of it has left. One at a time. */
  readonly write: (framed: readonly Buffer[], taken: () => void) => void
  /** Ends the call: with OK, or with the status of the problem. What was written before goes first. */
  readonly end: (problem?: Problem) => void
}

/**
 * So much of a message is given to the connection at a time. TLS keeps, for the life of a connection, as much memory as
 * ever waited on it: a client that was once sent 400 kB at once costs 400 kB from then on (measured, Node 24).
 */
const chunkBytes = (16 << 10) - 64

const answerHeaders: readonly Header[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
]
const answerBlock = headerBlock(answerHeaders)

export function grpcCall(stream: Http2Stream, caller: Caller, messageBytes: number): GrpcCall {
  let isHeard = false

  const open = () => {
    if (isHeard) return
    isHeard = true
    stream.respond(answerBlock)
  }
  const end = (problem?: Problem) =>
    stream.finish(headerBlock(isHeard ? statusOf(problem) : [...answerHeaders, ...statusOf(problem)]))

  return {
    caller,
    open,
    onMessage: (take) => {
      const onPart = messagesFrom(messageBytes, (message) => {
        if (stream.isOpen()) take(message)
      })
      stream.read((part) => {
        try {
          onPart(part)
        } catch (cause) {
          end(cause instanceof Problem ? cause : new Problem('internal', 'the call failed', { cause }))
        }
      })
    },
    pause: stream.pause,
    resume: stream.resume,
    onEnd: stream.onEnd,
    onClose: stream.onClose,
    write: (framed, taken) => {
      open()
      const chunks = chunksOf(framed)
      const next = (): void => {
        const { value, done } = chunks.next()
        if (done) taken()
        else stream.write(value, next)
      }
      next()
    },
    end,
  }
}

/** The message again, in parts that may be given to a connection. */
function* chunksOf(pieces: readonly Buffer[]): Generator<readonly Buffer[], undefined> {
  let waiting: Buffer[] = []
  let size = 0
  for (const piece of pieces)
    for (let at = 0; at < piece.length; ) {
      const isWhole = at === 0 && piece.length <= chunkBytes - size
      const part = isWhole ? piece : piece.subarray(at, at + chunkBytes - size)
      waiting.push(part)
      at += part.length
      size += part.length
      if (size < chunkBytes) continue
      yield waiting
      waiting = []
      size = 0
    }
  if (size > 0) yield waiting
  return undefined
}

/** Percent-encoded, at most nine times as much: what fits a frame of headers. */
const statusTextMax = 1000

/** Trailers. The text travels percent-encoded. */
const statusOf = (problem: Problem | undefined): readonly Header[] =>
  problem === undefined
    ? [['grpc-status', '0']]
    : [
        ['grpc-status', String(problemKinds[problem.kind].grpc)],
        ['grpc-message', encodeURI(problem.message.slice(0, statusTextMax).toWellFormed())],
      ]

/** The caller behind a stream: the headers as they came, each value by itself. */
export const callerOf = (stream: Http2Stream, socket: TLSSocket, address: string): Caller => ({
  address,
  certificate: () => (socket.authorized ? socket.getPeerX509Certificate() : undefined),
  values: (name) => stream.headers.flatMap(([header, value]) => (header === name ? [value] : [])),
})
