import { createServer, type Server as TcpServer } from 'node:net'
import { createSecureContext, createServer as createTlsServer, type SecureContext, type TLSSocket } from 'node:tls'
import { openProbeLeaf, type ProbeLeaf } from '#gateway/health/probe-leaf.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, type Holder, make, makeIssuing } from '#tests/support/authorities.ts'
import { eventually } from '#tests/support/until.ts'

export type Identity = { readonly cert: string; readonly key: string }

/** A gateway's chain and key in some cluster. */
export async function gatewayOf(root: Holder, cluster: string): Promise<Identity> {
  const issuing = await makeIssuing(root, cluster)
  const names = identityNames(spiffeId(domain(cluster), 'istio-system', 'gateway'))
  const leaf = await make({ profile: 'gateway', names, by: issuing })
  return { cert: leaf.pem + issuing.pem, key: leaf.key.keyPem }
}

/** The same of a pod of namespace shop, which callers reach through the gateway. */
export async function podOf(root: Holder, cluster: string, account: string): Promise<Identity> {
  const issuing = await makeIssuing(root, cluster)
  const names = identityNames(spiffeId(domain(cluster), 'shop', account))
  const leaf = await make({ profile: 'workload', names, by: issuing })
  return { cert: leaf.pem + issuing.pem, key: leaf.key.keyPem }
}

/** What the relay of cluster a shows to gateways. */
export async function leafOf(root: Holder, roots = root.pem): Promise<ProbeLeaf & { readonly made: SecureContext }> {
  const issuing = await makeIssuing(root, 'a')
  const leaf = openProbeLeaf({
    trustDomain: domain('a'),
    authority: () => ({ signer: issuing.key, chain: [issuing.certificate] }),
    roots: () => roots,
    clock: () => new Date(),
    log: {
      warn: (facts, text) => {
        throw new Error(`${text}: ${JSON.stringify(facts)}`)
      },
    },
  })
  return { ...leaf, made: await eventually(30_000, 'a leaf', () => leaf.context()) }
}

/** Who stands behind a gateway: asked by any name that begins as those of services do. */
export type Behind = { readonly own: Identity; readonly answer: (socket: TLSSocket) => void }

const isService = (name: string): boolean => name.startsWith('outbound_')

/** A gateway as Envoy serves it: client certificates of this mesh's roots only. */
export function servingAs(
  root: Holder,
  own: Identity,
  answer: (socket: TLSSocket) => void,
  behind?: Behind,
): TcpServer {
  const pod = behind && createSecureContext({ ...behind.own, ca: root.pem })
  return createTlsServer(
    {
      ...{ ...own, ca: root.pem, requestCert: true, rejectUnauthorized: true },
      SNICallback: (name, done) => done(null, isService(name) ? pod : undefined),
    },
    (socket) => {
      socket.on('error', () => undefined)
      if (behind && isService(String(socket.servername))) behind.answer(socket)
      else answer(socket)
    },
  )
}

export const well = (socket: TLSSocket): void => {
  socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n'))
}

export const listenOn = (server: TcpServer, port = 0, host = '127.0.0.1'): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : 0)
    })
  })

/** An address of this process alone: while a gateway is dead nobody else is given its port. */
const host = `127.${96 + (process.pid >> 16)}.${(process.pid >> 8) & 255}.${process.pid & 255 || 255}`

/** A gateway that dies and comes back at one address. */
export type ProbedGateway = { readonly address: string; kill(): void; revive(): Promise<void> }

export async function startGateway(root: Holder, cluster: string, behind?: Behind): Promise<ProbedGateway> {
  const own = await gatewayOf(root, cluster)
  let server = servingAs(root, own, well, behind)
  const port = await listenOn(server, 0, host)
  let isAlive = true
  return {
    address: `${host}:${port}`,
    kill: () => {
      isAlive = false
      server.close()
    },
    revive: async () => {
      if (isAlive) return
      isAlive = true
      server = servingAs(root, own, well, behind)
      await listenOn(server, port, host)
    },
  }
}

/** Takes connections and says nothing. */
export const blackHole = (): TcpServer => createServer((socket) => socket.on('error', () => undefined))
