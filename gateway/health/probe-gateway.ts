import type { SecureContext } from 'node:tls'
import { askOverTls, onlyUri, type Probed, type Reached } from '#gateway/health/ask-over-tls.ts'

/** One gateway of another cluster, by the address that proxies dial. */
export type ProbeTarget = {
  readonly address: string
  readonly port: number
  /** The reserved name at which gateways answer relays. */
  readonly sni: string
  /** The gateway must be of one of these. */
  readonly trustDomains: readonly string[]
}

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
  const { address, port, sni, trustDomains } = target
  const question = {
    ...{ address, port, sni, alpn: 'http/1.1', closed },
    identityFault: (names: string | undefined) => identityFault(names, trustDomains),
    silent: (reached: Reached): Probed => ({ result: 'timeout', detail: silences[reached] }),
  }
  return askOverTls(
    {
      ...question,
      ask: (socket, end) => {
        let answer = ''
        socket.write(`GET / HTTP/1.1\r\nhost: ${sni}\r\nconnection: close\r\n\r\n`)
        socket.setEncoding('latin1')
        socket.on('data', (text: string) => {
          answer += text
          if (answer.includes('\r\n') || answer.length > answerBytesMax) end(answered(answer))
        })
      },
    },
    context,
    timeoutMs,
  )
}

export const silences: Readonly<Record<Reached, string>> = {
  nothing: 'no connection',
  connection: 'no TLS after the connection',
  tls: 'no answer after TLS',
}

/** Who proved to be a gateway of that cluster is alive: with TLS 1.3 it is only then that it refuses a certificate. */
const closed = (reached: Reached): Probed =>
  reached === 'tls'
    ? { result: 'trust', detail: 'it closed the connection after TLS: it does not take this relay for one of the mesh' }
    : { result: 'reset', detail: 'it closed the connection before TLS was through' }

const answered = (answer: string): Probed =>
  /^HTTP\/1\.[01] 200[ \r]/.test(answer)
    ? { result: 'ok' }
    : { result: 'trust', detail: `it answers "${(answer.split('\r\n')[0] ?? '').slice(0, 60)}" and not 200` }

function identityFault(names: string | undefined, trustDomains: readonly string[]): Error | undefined {
  const uri = onlyUri(names)
  if (trustDomains.some((domain) => uri.startsWith(`spiffe://${domain}/`))) return undefined
  return new Error(`it is ${uri.slice(0, 200) || 'nobody by name'}, and not of ${trustDomains.join(' or ')}`)
}
