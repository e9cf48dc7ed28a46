import { connect, type DetailedPeerCertificate } from 'node:tls'
import { refusal } from '#cli/failure.ts'
import { type Certificate, parseCertificate } from '#mesh/trust/certificate.ts'

export type Dial = { readonly host: string; readonly port: number; readonly serverName?: string }

const dialMs = 5000
const chainMax = 8

/**
 * The chain that a TLS server shows, its own certificate first, judged by nobody yet. As a mesh proxy is dialled: TLS 1.3
 * with the protocol `istio`, and no certificate of ours, so a server that asks for one ends the connection after it has
 * shown its own. Throws `unavailable` with what the dial ended with.
 */
export function shownChain({ host, port, serverName }: Dial): Promise<readonly [Certificate, ...Certificate[]]> {
  const on = `${host}:${port}`
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...{ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3', ALPNProtocols: ['istio', 'h2', 'http/1.1'] },
      ...(serverName === undefined ? {} : { servername: serverName }),
    })
    const fail = (why: string, cause?: unknown): void => {
      socket.destroy()
      const mend = 'a gateway answers only to names that it passes on: --server-name <SNI>; else look at the address'
      reject(refusal({ kind: 'unavailable', why, on, mend, cause }))
    }
    socket.setTimeout(dialMs, () => fail(`it did not answer in ${dialMs / 1000} s`))
    socket.on('error', (cause) => fail(`no certificate was shown: ${cause.message}`, cause))
    socket.on('close', () => fail('it closed the connection before it had shown a certificate'))
    socket.once('secureConnect', () => {
      try {
        const ders = dersOf(socket.getPeerCertificate(true))
        socket.removeAllListeners('close').destroy()
        const [own, ...more] = ders.map((der) => parseCertificate(new Uint8Array(der)))
        if (own) resolve([own, ...more])
        else fail('it has shown no certificate')
      } catch (cause) {
        fail(`what it has shown is not read: ${(cause as Error).message}`, cause)
      }
    })
  })
}

function dersOf(first: DetailedPeerCertificate): Buffer[] {
  const ders: Buffer[] = []
  let one: DetailedPeerCertificate | undefined = first
  while (one?.raw && ders.length < chainMax && !ders.some((known) => known.equals(one?.raw ?? Buffer.alloc(0)))) {
    ders.push(one.raw)
    one = one.issuerCertificate
  }
  return ders
}
