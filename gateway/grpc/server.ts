import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { createSecureContext, createServer, DEFAULT_CIPHERS, type TLSSocket } from 'node:tls'
import { type Caller, callerOf, type GrpcCall, grpcCall } from '#gateway/grpc/call.ts'
import { frame } from '#gateway/grpc/frames.ts'
import { headerBlock } from '#gateway/grpc/hpack.ts'
import { type Http2Connection, serveHttp2 } from '#gateway/grpc/http2.ts'
import type { Http2Stream } from '#gateway/grpc/http2-stream.ts'
import { perTurn } from '#gateway/grpc/per-turn.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What a listener shows and whom it believes, as PEM. */
export type Serving = { readonly cert: string; readonly key: string; readonly clientCas: string }

/** A method by its kind: one answer to one message, or a conversation. */
export type Method =
  | { readonly kind: 'unary'; readonly answer: (message: Uint8Array, caller: Caller) => Promise<Uint8Array> }
  | {
      readonly kind: 'stream'
      readonly serve: (call: GrpcCall) => void
      /** Where less than the server's is enough. */
      readonly messageBytes?: number
    }

export type GrpcServerOptions = {
  readonly serving: Serving
  /** By path, `/<package>.<Service>/<Method>`. */
  readonly methods: Readonly<Record<string, Method>>
  readonly messageBytes: number
  /** A call began on the connection of this far end (`host:port`). */
  readonly onCall: (address: string) => void
}

export type GrpcServer = {
  /** Takes over a connection that somebody else accepted. */
  readonly accept: (socket: Socket) => void
  /** Replaces certificate and client roots for new handshakes; streams stay. Throws `invalid` and changes nothing when they are not usable. */
  readonly rotate: (serving: Serving) => void
  readonly close: () => void
}

/** Envoy's own first choice: the one with the larger key costs more and protects nothing better here. */
const ciphers = `TLS_AES_128_GCM_SHA256:${DEFAULT_CIPHERS.replace('TLS_AES_128_GCM_SHA256:', '')}`

/**
 * A handshake holds some 60 kB until the client's next word. Of a thousand that dial at once all would hold them, and what a
 * process once had on its heap it keeps.
 */
const handshakesPerTurn = 32

const pingMs = 30_000
const pongMs = 10_000

/**
 * gRPC on HTTP/2 and TLS: a client certificate is asked for, and a connection without one, or with one that does not
 * verify, is taken all the same: its client must show a token, or is refused by whoever serves the call.
 *
 * By hand, because a relay lives by its streams (docs/decisions/grpc-on-http2.md). Source: gRPC over HTTP/2.
 */
export function grpcServer(options: GrpcServerOptions): GrpcServer {
  const connections = new Set<Http2Connection>()
  const server = createServer(
    {
      ...contextOf(options.serving),
      ALPNProtocols: ['h2'],
      // The hybrid groups that OpenSSL would choose first cost 10 to 20 kB more for the life of each connection.
      ecdhCurve: 'X25519:P-256:P-384',
      ciphers,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (socket) => {
      const address = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`
      const connection = serveHttp2(socket, (stream) => serveCall(stream, socket, address))
      connections.add(connection)
      socket.once('close', () => connections.delete(connection))
    },
  )
  server.on('tlsClientError', () => undefined)

  const serveCall = (stream: Http2Stream, socket: TLSSocket, address: string) => {
    const caller = callerOf(stream, socket, address)
    const headerOf = (name: string) => caller.values(name)[0] ?? ''
    const refusal = refusalOf(headerOf(':method'), headerOf('content-type'))
    if (refusal) return stream.finish(headerBlock([[':status', refusal]]))
    options.onCall(address)
    const path = headerOf(':path')
    const method = Object.hasOwn(options.methods, path) ? options.methods[path] : undefined
    if (!method) return stream.finish(unimplemented)
    if (method.kind === 'stream')
      method.serve(
        grpcCall(stream, caller, Math.min(options.messageBytes, method.messageBytes ?? options.messageBytes)),
      )
    else answerOne(grpcCall(stream, caller, Math.min(options.messageBytes, askedBytesMax)), method.answer)
  }
  const timer = setInterval(() => pingAll(connections), pingMs)
  timer.unref()

  return {
    accept: perTurn(handshakesPerTurn, (socket: Socket) => {
      if (!socket.destroyed) server.emit('connection', socket)
    }),
    rotate: (serving) => server.setSecureContext(contextOf(serving)),
    close: () => {
      clearInterval(timer)
      for (const connection of connections) connection.destroy()
    },
  }
}

/** A client that is not known yet can have so much of one message wait, for so long; then it has to ask again. */
const askedBytesMax = 64 << 10
const askedMs = 30_000

function answerOne(call: GrpcCall, answer: (message: Uint8Array, caller: Caller) => Promise<Uint8Array>): void {
  let asked = 0
  const late = setTimeout(() => call.end(new Problem('unavailable', 'the message did not come in time')), askedMs)
  late.unref()
  call.onClose(() => clearTimeout(late))
  call.onMessage((message) => {
    if (++asked > 1) return
    clearTimeout(late)
    answer(new Uint8Array(message), call.caller).then(
      (bytes) => call.write([frame(bytes)], () => call.end()),
      (error: unknown) =>
        call.end(error instanceof Problem ? error : new Problem('internal', 'the call failed', { cause: error })),
    )
  })
  call.onEnd(() => {
    if (asked === 0) call.end(new Problem('invalid', 'the call carries no message'))
  })
}

/** Status 12, which no problem of ours stands for: nobody serves the path. */
const unimplemented = headerBlock([
  [':status', '200'],
  ['content-type', 'application/grpc'],
  ['grpc-status', '12'],
  ['grpc-message', 'nobody serves this method here'],
])

/** The HTTP status for what is not a gRPC call at all. */
const refusalOf = (method: string, contentType: string): string | undefined => {
  if (method !== 'POST') return '405'
  return /^application\/grpc($|[+;])/.test(contentType) ? undefined : '415'
}

/** A far end that vanished without a word is found by this; one that is busy answers all the same. */
function pingAll(connections: ReadonlySet<Http2Connection>): void {
  const asked = [...connections]
  for (const connection of asked) connection.ping()
  const late = setTimeout(() => {
    for (const connection of asked) if (!connection.isAlive()) connection.destroy()
  }, pongMs)
  late.unref()
}

/** No session is taken up again: who did would not be asked for a certificate, whatever became of the one before. */
function contextOf({ cert, key, clientCas }: Serving) {
  const secureOptions = constants.SSL_OP_NO_TICKET
  const context = { cert, key, ca: clientCas, minVersion: 'TLSv1.2' as const, secureOptions }
  try {
    createSecureContext(context)
    return context
  } catch (cause) {
    throw new Problem('invalid', 'the serving certificate, its key and the client roots do not make a TLS context', {
      cause,
    })
  }
}
