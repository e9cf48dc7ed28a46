import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import type { SecureContext, TLSSocket } from 'node:tls'
import { frame, onMessages } from '#gateway/grpc/frames.ts'
import { askOverTls, onlyUri, type Probed, type Question, type Reached } from '#gateway/health/ask-over-tls.ts'
import type { CompiledProbe } from '#mesh/model/cluster-config.ts'

/** One service of another cluster, dialled as its callers' proxies do. */
export type ServiceTarget = {
  /** Of a gateway of that cluster. */
  readonly address: string
  readonly port: number
  /** Of the service's port. */
  readonly sni: string
  /** What requests call it. */
  readonly host: string
  /** The exact SPIFFE ids that may answer. */
  readonly identities: readonly string[]
  readonly probe: Pick<CompiledProbe, 'kind' | 'path'>
}

/**
 * Asks one service through a gateway of its cluster, over a connection of its own: TLS with this relay's leaf to a pod,
 * which must be one of `identities` under the roots, and then the question of its policy; all within `timeoutMs`.
 *
 * `unsure` where it says nothing about the service: a policy there that does not let this relay ask (403, 401), and what
 * has to do with trust, because that is the certificates' matter. Undefined where it says something about this machine or
 * the gateway alone: these are judged by probes of their own. Never throws.
 */
export function probeService(
  target: ServiceTarget,
  context: SecureContext,
  timeoutMs: number,
): Promise<Probed | undefined> {
  const { address, port, sni, identities, probe } = target
  const to = { address, port, sni, alpn: 'istio', identityFault: (names?: string) => identityFault(names, identities) }
  const question: Question = { ...to, silent, closed, ask: asks[probe.kind](target, timeoutMs) }
  return askOverTls(question, context, timeoutMs).then((probed) => probed && ofService(probed))
}

type Ask = Question['ask']

const asks: Readonly<Record<CompiledProbe['kind'], (target: ServiceTarget, timeoutMs: number) => Ask>> = {
  http: askHttp,
  grpc: askGrpc,
  tcp: (_target, timeoutMs) => (socket, end) => {
    socket.resume()
    // Whoever has no application behind him says so by closing at once.
    setTimeout(() => end({ result: 'ok' }), timeoutMs / 2).unref()
  },
}

const answerBytesMax = 1024

function askHttp({ host, probe }: ServiceTarget): Ask {
  return (socket, end) => {
    let answer = ''
    const head = `GET ${probe.path ?? '/'} HTTP/1.1\r\nhost: ${host}\r\nuser-agent: ${agent}\r\nconnection: close\r\n\r\n`
    socket.write(head)
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      answer += text
      if (answer.includes('\r\n') || answer.length > answerBytesMax) end(answered(answer))
    })
  }
}

const agent = 'isthmus-probe'

/** As Kubernetes takes it: from 200 on and below 400 is well. Who is refused learns nothing of the service. */
function answered(answer: string): Probed {
  const status = Number(/^HTTP\/1\.[01] (\d{3})[ \r]/.exec(answer)?.[1])
  if (Number.isNaN(status)) return { result: 'answer', detail: 'an answer that is no HTTP' }
  if (status >= 200 && status < 400) return { result: 'ok' }
  return { result: status === 401 || status === 403 ? 'unsure' : 'answer', detail: String(status) }
}

/** Source: gRPC, "Health checking protocol"; an empty request means the whole server. */
const healthPath = '/grpc.health.v1.Health/Check'
const serving = Buffer.from([0x08, 0x01])
/** Statuses that speak of who asks and of what: unimplemented, permission denied, unauthenticated. */
const unsureStatuses = new Set([7, 12, 16])

function askGrpc({ host }: ServiceTarget): Ask {
  return (socket: TLSSocket, end) => {
    const session = connectHttp2(`https://${host}`, { createConnection: () => socket })
    const over = (probed: Probed) => {
      end(probed)
      session.destroy()
    }
    const lost = () => over({ result: 'reset', detail: closedText })
    session.on('error', lost)
    const stream = session.request({
      ...{ ':method': 'POST', ':path': healthPath, ':authority': host },
      ...{ 'content-type': 'application/grpc', te: 'trailers', 'user-agent': agent },
    })
    let message: Uint8Array | undefined
    let head: IncomingHttpHeaders = {}
    let tail: IncomingHttpHeaders = {}
    stream.on('error', lost)
    stream.on('response', (headers) => {
      head = headers
    })
    stream.on('trailers', (trailers) => {
      tail = trailers
    })
    onMessages(stream, answerBytesMax, (one) => {
      message ??= one
    })
    stream.on('end', () => over(healthOf(head, tail, message)))
    stream.end(frame(new Uint8Array()))
  }
}

function healthOf(head: IncomingHttpHeaders, tail: IncomingHttpHeaders, message: Uint8Array | undefined): Probed {
  const http = Number(head[':status'])
  if (http !== 200) return { result: http === 401 || http === 403 ? 'unsure' : 'answer', detail: `HTTP ${http}` }
  const status = Number(tail['grpc-status'] ?? head['grpc-status'] ?? 2)
  if (status !== 0) return { result: unsureStatuses.has(status) ? 'unsure' : 'answer', detail: `gRPC status ${status}` }
  if (message && serving.equals(message)) return { result: 'ok' }
  return { result: 'answer', detail: 'NOT_SERVING' }
}

const closedText = 'it closed the connection'

/** A gateway that does not even take a connection is the gateway's matter. */
const silent = (reached: Reached): Probed | undefined =>
  reached === 'nothing'
    ? undefined
    : { result: 'timeout', detail: reached === 'tls' ? 'no answer in time' : 'no TLS in time' }

const closed = (reached: Reached): Probed | undefined =>
  reached === 'nothing' ? undefined : { result: 'reset', detail: closedText }

function ofService(probed: Probed): Probed | undefined {
  if (probed.result === 'trust') return { ...probed, result: 'unsure' }
  return probed.result === 'refused' ? undefined : probed
}

function identityFault(names: string | undefined, identities: readonly string[]): Error | undefined {
  const uri = onlyUri(names)
  if (identities.includes(uri)) return undefined
  return new Error(`it is ${uri.slice(0, 200) || 'nobody by name'}, and not ${identities.join(' or ').slice(0, 400)}`)
}
