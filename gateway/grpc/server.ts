import {
  createSecureServer,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import { type Caller, callerOf, type GrpcCall, grpcCall } from '#gateway/grpc/call.ts'
import { frame } from '#gateway/grpc/frames.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What a listener shows and whom it believes, as PEM. */
export type Serving = { readonly cert: string; readonly key: string; readonly clientCas: string }

/** A method by its kind: one answer to one message, or a conversation. */
export type Method =
  | { readonly kind: 'unary'; readonly answer: (message: Uint8Array, caller: Caller) => Promise<Uint8Array> }
  | { readonly kind: 'stream'; readonly serve: (call: GrpcCall) => void }

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

const pingMs = 30_000
const pongMs = 10_000

/**
 * gRPC on node:http2 and TLS: a client certificate is asked for, and a connection without one, or with one that does not
 * verify, is taken all the same: its client must show a token, or is refused by whoever serves the call.
 *
 * By hand, because a relay lives by its streams: a library in between costs a quarter more work per message, twice the
 * memory per stream, and writes a message whole, which a TLS connection never gives back. Source: gRPC over HTTP/2.
 */
export function grpcServer(options: GrpcServerOptions): GrpcServer {
  const server = createSecureServer({
    ...contextOf(options.serving),
    ALPNProtocols: ['h2'],
    // The hybrid groups that OpenSSL would choose first cost 10 to 20 kB more for the life of each connection.
    ecdhCurve: 'X25519:P-256:P-384',
    requestCert: true,
    rejectUnauthorized: false,
    maxSessionMemory: 64,
    // What a client may send ahead is memory that its connection keeps from then on.
    settings: { maxConcurrentStreams: 100, initialWindowSize: 16 << 10, enablePush: false },
  })
  const sessions = new Set<ServerHttp2Session>()
  const quiet = () => undefined
  server.on('sessionError', quiet)
  server.on('tlsClientError', quiet)
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', quiet)
    session.once('close', () => sessions.delete(session))
  })
  server.on('stream', (...[stream, headers, , rawHeaders]: OnStream) => {
    stream.on('error', quiet)
    const refusal = refusalOf(headers)
    if (refusal !== undefined) return stream.respond({ ':status': refusal }, { endStream: true })
    const { remoteAddress = '', remotePort = 0 } = stream.session?.socket ?? {}
    const address = `${remoteAddress}:${remotePort}`
    const call = grpcCall(stream, callerOf(stream, rawHeaders, address), options.messageBytes)
    options.onCall(address)
    const path = headers[':path'] ?? ''
    const method = Object.hasOwn(options.methods, path) ? options.methods[path] : undefined
    if (!method) return stream.respond(unimplemented, { endStream: true })
    if (method.kind === 'stream') method.serve(call)
    else answerOne(call, method.answer)
  })
  const timer = setInterval(() => {
    for (const session of sessions) pingOrDestroy(session)
  }, pingMs)
  timer.unref()

  return {
    accept: (socket) => void server.emit('connection', socket),
    rotate: (serving) => server.setSecureContext(contextOf(serving)),
    close: () => {
      clearInterval(timer)
      for (const session of sessions) session.destroy()
    },
  }
}

function answerOne(call: GrpcCall, answer: (message: Uint8Array, caller: Caller) => Promise<Uint8Array>): void {
  let asked = 0
  call.onMessage((message) => {
    if (++asked > 1) return
    answer(message, call.caller).then(
      (bytes) => call.write([frame(bytes)], () => call.end()),
      (error: unknown) =>
        call.end(error instanceof Problem ? error : new Problem('internal', 'the call failed', { cause: error })),
    )
  })
  call.onEnd(() => {
    if (asked === 0) call.end(new Problem('invalid', 'the call carries no message'))
  })
}

type OnStream = [stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, rawHeaders: string[]]

/** Status 12, which no problem of ours stands for: nobody serves the path. */
const unimplemented = {
  ...{ ':status': 200, 'content-type': 'application/grpc' },
  ...{ 'grpc-status': '12', 'grpc-message': 'nobody serves this method here' },
}

/** The HTTP status for what is not a gRPC call at all. */
const refusalOf = (headers: { readonly [name: string]: unknown }): number | undefined => {
  if (headers[':method'] !== 'POST') return 405
  return /^application\/grpc($|[+;])/.test(String(headers['content-type'] ?? '')) ? undefined : 415
}

/** A far end that vanished without a word is found by this; a session that is busy answers all the same. */
function pingOrDestroy(session: Http2Session): void {
  if (session.destroyed) return
  const late = setTimeout(() => session.destroy(), pongMs)
  late.unref()
  const answered = () => {
    clearTimeout(late)
    session.off('close', answered)
  }
  session.once('close', answered)
  session.ping(answered)
}

function contextOf({ cert, key, clientCas }: Serving) {
  const context = { cert, key, ca: clientCas, minVersion: 'TLSv1.2' as const }
  try {
    createSecureContext(context)
    return context
  } catch (cause) {
    throw new Problem('invalid', 'the serving certificate, its key and the client roots do not make a TLS context', {
      cause,
    })
  }
}
