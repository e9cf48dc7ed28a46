import { connect, type SecureContext, type TLSSocket } from 'node:tls'
import type { ProbeResult } from '#mesh/model/traffic.ts'

/** `detail`: what was wrong, for a person. */
export type Probed = { readonly result: ProbeResult; readonly detail?: string }

/** How far a probe came. */
export type Reached = 'nothing' | 'connection' | 'tls'

/** Whom a probe dials, and what it asks there. */
export type Question = {
  readonly address: string
  readonly port: number
  readonly sni: string
  readonly alpn: string
  /** Why the far end with these names (as node:tls gives them: `URI:spiffe://…`, several with `, ` between) is not meant. */
  readonly identityFault: (names: string | undefined) => Error | undefined
  /** Asks, once TLS is through and the far end is who was meant. */
  readonly ask: (socket: TLSSocket, end: (probed: Probed) => void) => void
  /** What it means that nothing came within the time, or that the far end closed the connection. */
  readonly silent: (reached: Reached) => Probed | undefined
  readonly closed: (reached: Reached) => Probed | undefined
}

/** What comes of this machine and not of the far end: it says nothing about anybody. */
const ownFaults = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'EACCES', 'EPERM'])
const refusals = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'])
const resets = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED'])
/** So late a timer means that this process stood still. */
const lateMsMax = 300

/**
 * Asks over a connection of its own, all within `timeoutMs`. Undefined where nothing can be said, because the fault is
 * this machine's. Never throws.
 */
export function askOverTls(question: Question, context: SecureContext, timeoutMs: number): Promise<Probed | undefined> {
  const { address, port, sni, alpn, identityFault, ask, silent, closed } = question
  const startedAt = performance.now()
  return new Promise((resolve) => {
    let reached: Reached = 'nothing'
    const socket = connect({
      ...{ host: address, port, servername: sni, secureContext: context },
      ALPNProtocols: [alpn],
      checkServerIdentity: (_host, certificate) => identityFault(certificate.subjectaltname),
    })
    const timer = setTimeout(() => {
      const isLate = performance.now() - startedAt > timeoutMs + lateMsMax
      // What has arrived by now is read before the verdict.
      setImmediate(() => end(isLate ? undefined : silent(reached)))
    }, timeoutMs)
    socket.once('connect', () => {
      reached = 'connection'
    })
    socket.once('secureConnect', () => {
      reached = 'tls'
      ask(socket, end)
    })
    socket.once('end', () => end(closed(reached)))
    socket.once('close', () => end(closed(reached)))
    socket.once('error', (error: NodeJS.ErrnoException) => end(failed(error)))

    function end(probed: Probed | undefined): void {
      clearTimeout(timer)
      socket.removeAllListeners('error')
      // A socket that is destroyed may still say why: nobody asks any more.
      socket.on('error', () => undefined)
      socket.destroy()
      resolve(probed)
    }

    function failed({ code = '', message }: NodeJS.ErrnoException): Probed | undefined {
      const detail = message.slice(0, 200)
      if (ownFaults.has(code)) return undefined
      if (refusals.has(code)) return { result: 'refused', detail }
      if (code === 'ETIMEDOUT') return { result: 'timeout', detail }
      if (resets.has(code)) return closed(reached)
      return reached === 'nothing' ? undefined : { result: 'trust', detail }
    }
  })
}

/** The one URI name of a certificate; empty where there is none, or more than one. */
export function onlyUri(names: string | undefined): string {
  const uris = (names ?? '').split(', ').filter((name) => name.startsWith('URI:'))
  return uris.length === 1 ? (uris[0] ?? '').slice(4) : ''
}
