import { connect, type IncomingHttpHeaders } from 'node:http2'
import { isIP } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import { frame, onMessages } from '#gateway/grpc/frames.ts'
import { clockFaults } from '#mesh/model/clock-fault.ts'
import { Problem, type ProblemKind, problemKinds } from '#mesh/model/problem.ts'

/**
 * The little of gRPC that this program speaks: one unary call. By hand on node:http2, because grpc-js costs
 * 15 MB in every pod, and brings proxies from the environment and TXT look-ups that nobody asked for here.
 * Source: gRPC over HTTP/2 (PROTOCOL-HTTP2).
 */
export type UnaryCall = {
  readonly host: string
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly tls: SecureContextOptions
  /** Why the server with this certificate (DER) must not be spoken to; asked after its chain was verified. */
  readonly serverFault: (der: Uint8Array) => Error | undefined
  readonly deadlineMs: number
  readonly answerBytesMax: number
}

/** The message answered. Throws a Problem: of the kind that the status means, `unavailable` where there is none. */
export function callUnary(call: UnaryCall): Promise<Uint8Array> {
  return new Promise((done, fail) => {
    const authority = `https://${isIP(call.host) === 6 ? `[${call.host}]` : call.host}:${call.port}`
    const session = connect(authority, {
      ...call.tls,
      minVersion: 'TLSv1.3',
      checkServerIdentity: (_host, certificate) => call.serverFault(certificate.raw),
    })
    const end = (problem: Error | undefined, message?: Uint8Array) => {
      clearTimeout(deadline)
      if (message && !problem) done(message)
      else fail(problem ?? new Problem('unavailable', 'the answer is empty'))
      session.destroy()
    }
    // A stream that never got its connection says so, and carries the connection's own error as its cause.
    const lost = (error: Error) => {
      const cause = error.cause instanceof Error ? error.cause : error
      end(cause instanceof Problem ? cause : new Problem('unavailable', reasonOf(cause), { cause }))
    }
    const deadline = setTimeout(() => lost(new Error(`no answer in ${call.deadlineMs / 1000} s`)), call.deadlineMs)
    session.on('error', lost)
    session.on('close', () => lost(new Error('the connection ended before an answer')))
    const stream = session.request({
      ':method': 'POST',
      ':path': call.path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...call.headers,
    })
    let answer: Uint8Array | undefined
    let refused: Problem | undefined
    stream.on('error', lost)
    stream.on('response', (headers) => (refused = faultOf(headers, true)))
    stream.on('trailers', (trailers) => (refused ??= faultOf(trailers, false)))
    onMessages(stream, call.answerBytesMax, (message) => (answer ??= message))
    stream.on('end', () => end(refused, answer))
    stream.end(frame(call.body))
  })
}

/** OpenSSL's own text of "no TLS there" is three lines of its sources. */
const reasonOf = (error: Error): string => {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'what listens there speaks no TLS'
  const clock = clockFaults[code]
  if (clock !== undefined) return clock
  return error.message.trim() || code || error.name
}

/** What headers or trailers say went wrong. A refusal without a body carries its status in the headers. */
function faultOf(headers: IncomingHttpHeaders, first: boolean): Problem | undefined {
  if (first && Number(headers[':status']) !== 200)
    return new Problem('unavailable', `HTTP status ${headers[':status']}: nothing there speaks gRPC`)
  const status = headers['grpc-status']
  if (status === undefined ? first : status === '0') return undefined
  // Two kinds share status 8; from a relay it means that it has too much to do, not that a request was too large.
  const kinds = Object.keys(problemKinds).filter(
    (one): one is ProblemKind => one in problemKinds && one !== 'too-large',
  )
  const kind = kinds.find((one) => problemKinds[one].grpc === Number(status)) ?? 'unavailable'
  const said = decoded(String(headers['grpc-message'] ?? `status ${status}`)).slice(0, 1_000)
  return new Problem(kind, said, { extra: { grpcStatus: Number(status) } })
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
