import { connect, type SecureContext } from 'node:tls'
import type { ProbeResult } from '#mesh/model/traffic.ts'

/** One gateway of another cluster, by the address that proxies dial. */
export type ProbeTarget = {
  readonly address: string
  readonly port: number
  /** The reserved name at which gateways answer relays. */
  readonly sni: string
  /** The gateway must be of one of these. */
  readonly trustDomains: readonly string[]
}

/** `detail`: what was wrong, for a person. */
export type Probed = { readonly result: ProbeResult; readonly detail?: string }

/** What comes of this machine and not of the far end: it says nothing about anybody. */
const ownFaults = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'EACCES', 'EPERM'])
const refusals = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'])
const resets = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED'])
/** So late a timer means that this process stood still. */
const lateMsMax = 300
const answerBytesMax = 1024

/**
 * Asks one gateway, over a connection of its own: TLS with this relay's leaf, the far end under `roots` and of the right
 * trust domain, `GET /` answered with 200; all within `timeoutMs`. Undefined where nothing can be said, because the fault
 * is this machine's. Never throws.
 */
export function probeGateway(
  target: ProbeTarget,
  context: SecureContext,
  timeoutMs: number,
): Promise<Probed | undefined> {
  const startedAt = performance.now()
  return new Promise((resolve) => {
    let reached: Reached = 'nothing'
    let answer = ''
    const socket = connect({
      ...{ host: target.address, port: target.port, servername: target.sni, secureContext: context },
      ALPNProtocols: ['http/1.1'],
      checkServerIdentity: (_host, certificate) => identityFault(certificate.subjectaltname, target.trustDomains),
    })
    const timer = setTimeout(() => {
      const isLate = performance.now() - startedAt > timeoutMs + lateMsMax
      // What has arrived by now is read before the verdict.
      setImmediate(() => end(isLate ? undefined : { result: 'timeout', detail: silences[reached] }))
    }, timeoutMs)
    socket.once('connect', () => {
      reached = 'connection'
    })
    socket.once('secureConnect', () => {
      reached = 'tls'
      socket.write(`GET / HTTP/1.1\r\nhost: ${target.sni}\r\nconnection: close\r\n\r\n`)
    })
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      answer += text
      if (answer.includes('\r\n') || answer.length > answerBytesMax) end(answered(answer))
    })
    socket.once('end', () => end(closed(reached)))
    socket.once('close', () => end(closed(reached)))
    socket.once('error', (error: NodeJS.ErrnoException) => end(failed(error, reached)))

    function end(probed: Probed | undefined): void {
      clearTimeout(timer)
      socket.removeAllListeners('error')
      // A socket that is destroyed may still say why: nobody asks any more.
      socket.on('error', () => undefined)
      socket.destroy()
      resolve(probed)
    }
  })
}

type Reached = 'nothing' | 'connection' | 'tls'

const silences: Readonly<Record<Reached, string>> = {
  nothing: 'no connection',
  connection: 'no TLS after the connection',
  tls: 'no answer after TLS',
}

/** Who proved to be a gateway of that cluster is alive: with TLS 1.3 it is only then that it refuses a certificate. */
const closed = (reached: Reached): Probed =>
  reached === 'tls'
    ? { result: 'trust', detail: 'it closed the connection after TLS: it does not take this relay for one of the mesh' }
    : { result: 'reset', detail: 'it closed the connection before TLS was through' }

function failed({ code = '', message }: NodeJS.ErrnoException, reached: Reached): Probed | undefined {
  const detail = message.slice(0, 200)
  if (ownFaults.has(code)) return undefined
  if (refusals.has(code)) return { result: 'refused', detail }
  if (code === 'ETIMEDOUT') return { result: 'timeout', detail }
  if (resets.has(code)) return closed(reached)
  return reached === 'nothing' ? undefined : { result: 'trust', detail }
}

const answered = (answer: string): Probed =>
  /^HTTP\/1\.[01] 200[ \r]/.test(answer)
    ? { result: 'ok' }
    : { result: 'trust', detail: `it answers "${(answer.split('\r\n')[0] ?? '').slice(0, 60)}" and not 200` }

/** `names` as node:tls gives them: `URI:spiffe://…`, several with `, ` between. */
function identityFault(names: string | undefined, trustDomains: readonly string[]): Error | undefined {
  const uris = (names ?? '').split(', ').filter((name) => name.startsWith('URI:'))
  const [uri = ''] = uris
  if (uris.length === 1 && trustDomains.some((domain) => uri.startsWith(`URI:spiffe://${domain}/`))) return undefined
  return new Error(`it is ${uri.slice(4, 200) || 'nobody by name'}, and not of ${trustDomains.join(' or ')}`)
}
