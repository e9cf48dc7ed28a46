import { type ClientHttp2Session, connect } from 'node:http2'
import { connect as tcpConnect } from 'node:net'
import { Duplex } from 'node:stream'
import { createSecureContext, type SecureContext, connect as tlsConnect } from 'node:tls'
import type { Mode } from '#tests/bench/load/response.ts'

export type Dial = {
  readonly host: string
  readonly port: number
  readonly cert: string
  readonly key: string
}

/** One TLS connection with one ADS stream on it. */
export type Connection = {
  readonly write: (frame: Buffer) => void
  readonly destroy: () => void
}

const openWindow = 16 << 20

/**
 * How a client does not read: `window` gives the server no credit on HTTP/2, `socket` takes nothing from TCP any more
 * once it has asked.
 */
export type Deafness = 'window' | 'socket' | undefined

/**
 * Opens a connection, with a whole handshake each time. Who answers is not verified here (real Envoys do, in the tests):
 * a thousand verifications are the generator's work, on the processor that the relay needs.
 */
export function openConnection(
  dial: Dial,
  given: {
    readonly mode: Mode
    readonly deafness: Deafness
    readonly onPiece: (piece: Buffer) => void
    readonly onEnd: () => void
  },
): Connection {
  const raw = given.deafness === 'socket' ? pausable(dial) : undefined
  const session: ClientHttp2Session = connect(`https://${dial.host}:${dial.port}`, {
    settings: { initialWindowSize: given.deafness === 'window' ? 0 : openWindow, enablePush: false },
    createConnection: () => {
      const { host, port } = dial
      return tlsConnect({
        ...{ secureContext: contextOf(dial), ALPNProtocols: ['h2'], rejectUnauthorized: false },
        ...(raw ? { socket: raw.socket } : { host, port }),
      })
    },
  })
  session.on('error', () => undefined)
  session.once('close', given.onEnd)
  session.once('connect', () => {
    if (!session.destroyed) session.setLocalWindowSize(openWindow)
  })
  const call = session.request({
    ':method': 'POST',
    ':path': `/envoy.service.discovery.v3.AggregatedDiscoveryService/${given.mode === 'delta' ? 'Delta' : 'Stream'}AggregatedResources`,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  call.on('error', () => undefined)
  call.on('close', () => session.close())
  call.on('data', given.onPiece)
  call.once('response', () => raw?.deafen())
  return { write: (frame) => void call.write(frame), destroy: () => session.destroy() }
}

/** Keys and certificates are read once for all connections that show them. */
function contextOf(dial: Dial): SecureContext {
  const known = contexts.get(dial)
  if (known) return known
  const { cert, key } = dial
  // As Envoy does; what OpenSSL would choose first costs a client more than the rest of the handshake.
  const fresh = createSecureContext({ ca: [], cert, key, ecdhCurve: 'X25519:P-256' })
  contexts.set(dial, fresh)
  return fresh
}
const contexts = new WeakMap<Dial, SecureContext>()

/** A TCP socket that stops reading when it is told to: node:http2 takes a plain one's reading into its own hands. */
function pausable({ host, port }: Dial): { readonly socket: Duplex; readonly deafen: () => void } {
  const raw = tcpConnect({ host, port })
  let isDeaf = false
  const socket = new Duplex({
    read: () => {
      if (!isDeaf) raw.resume()
    },
    write: (chunk: Buffer, _encoding, done) => void raw.write(chunk, done),
    final: (done) => void raw.end(done),
    destroy: (error, done) => {
      raw.destroy()
      done(error)
    },
  })
  raw.on('data', (piece: Buffer) => {
    if (!socket.push(piece)) raw.pause()
  })
  raw.on('error', () => undefined)
  raw.once('close', () => socket.destroy())
  const deafen = () => {
    isDeaf = true
    raw.pause()
  }
  return { socket, deafen }
}
