import type { X509Certificate } from 'node:crypto'
import type { ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { onMessages } from '#gateway/grpc/frames.ts'
import { type Problem, problemKinds } from '#mesh/model/problem.ts'

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
const chunkBytes = 16 << 10

const answerHeaders = { ':status': 200, 'content-type': 'application/grpc' }

export function grpcCall(stream: ServerHttp2Stream, caller: Caller, messageBytes: number): GrpcCall {
  let isOpen = false
  let fault: Problem | undefined

  const open = () => {
    if (isOpen || stream.destroyed || stream.closed) return
    isOpen = true
    stream.on('wantTrailers', () => stream.sendTrailers(statusOf(fault)))
    stream.respond(answerHeaders, { waitForTrailers: true })
  }
  const give = (bytes: Buffer, taken: () => void) => {
    if (!stream.writableEnded && !stream.destroyed) stream.write(bytes, (error) => error ?? taken())
  }
  const end = (problem?: Problem) => {
    if (stream.destroyed || stream.closed) return
    fault = problem
    if (isOpen) stream.end()
    else stream.respond({ ...answerHeaders, ...statusOf(fault) }, { endStream: true })
    // The client may go on talking; nobody listens.
    stream.removeAllListeners('data')
    stream.resume()
  }

  return {
    caller,
    open,
    onMessage: (take) =>
      onMessages(stream, messageBytes, (message) => {
        if (!stream.writableEnded) take(message)
      }),
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    onEnd: (listener) => void stream.on('end', listener),
    onClose: (listener) => void stream.on('close', listener),
    write: (framed, taken) => {
      open()
      const [only] = framed
      if (only && framed.length === 1 && only.length <= chunkBytes) return give(only, taken)
      const chunks = chunksOf(framed)
      const next = (): void => {
        const { value, done } = chunks.next()
        if (done) taken()
        else give(value, next)
      }
      next()
    },
    end,
  }
}

/** The message again, in parts that may be given to a connection. */
function* chunksOf(pieces: readonly Buffer[]): Generator<Buffer, undefined> {
  let waiting: Buffer[] = []
  let size = 0
  for (const piece of pieces)
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + chunkBytes - size)
      waiting.push(part)
      at += part.length
      size += part.length
      if (size < chunkBytes) continue
      yield whole(waiting)
      waiting = []
      size = 0
    }
  if (size > 0) yield whole(waiting)
  return undefined
}

const whole = (parts: readonly Buffer[]): Buffer => (parts.length === 1 && parts[0]) || Buffer.concat(parts)

/** Trailers. The text travels percent-encoded. */
const statusOf = (problem: Problem | undefined) =>
  problem === undefined
    ? { 'grpc-status': '0' }
    : {
        'grpc-status': String(problemKinds[problem.kind].grpc),
        'grpc-message': encodeURI(problem.message.toWellFormed()),
      }

/** The caller behind a stream: the headers as they came, each value by itself. */
export function callerOf(stream: ServerHttp2Stream, rawHeaders: readonly string[], address: string): Caller {
  const socket = stream.session?.socket as TLSSocket | undefined
  return {
    address,
    certificate: () => (socket?.authorized ? socket.getPeerX509Certificate() : undefined),
    values: (name) => rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name),
  }
}
