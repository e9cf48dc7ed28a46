import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { identityNames, relayServingNames } from '#mesh/trust/names.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, type Holder, make, makeControlPlaneCa, makeIssuing, makeRoot } from '#tests/support/authorities.ts'

const reviews = identityNames(spiffeId(domain('cluster-a'), 'shop', 'reviews'))
let root: Holder
let issuing: Holder
let workload: Holder
beforeAll(async () => {
  root = await makeRoot()
  issuing = await makeIssuing(root, 'cluster-a')
  workload = await make({ profile: 'workload', names: reviews, by: issuing })
})

/** A full mutual TLS 1.3 handshake in this process; gives back the URI the server saw, or throws what either side says. */
async function handshake(
  server: { holder: Holder; chain: string; ca: string },
  client: typeof server,
): Promise<string> {
  const listener = createServer({
    key: server.holder.key.keyPem,
    cert: server.holder.pem + server.chain,
    ca: server.ca,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  })
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done))
  const address = listener.address()
  const port = typeof address === 'object' && address ? address.port : 0
  try {
    return await new Promise<string>((done, fail) => {
      listener.on('tlsClientError', fail)
      listener.on('secureConnection', (socket: TLSSocket) => done(socket.getPeerCertificate().subjectaltname ?? ''))
      const socket = connect({
        port,
        host: '127.0.0.1',
        key: client.holder.key.keyPem,
        cert: client.holder.pem + client.chain,
        ca: client.ca,
        checkServerIdentity: () => undefined,
      })
      socket.on('error', fail)
      socket.on('secureConnect', () => socket.end())
      socket.resume()
    })
  } finally {
    listener.close()
  }
}

describe('node TLS', () => {
  test('root, issuing CA and workload shake hands both ways', async () => {
    const side = { holder: workload, chain: issuing.pem, ca: root.pem }
    expect(await handshake(side, side)).toBe('URI:spiffe://cluster-a.mesh1/ns/shop/sa/reviews')
  })
})
