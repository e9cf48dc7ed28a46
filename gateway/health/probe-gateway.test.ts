import { createServer, type Server } from 'node:net'
import { createServer as createTlsServer, type SecureContext, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ProbeTarget, probeGateway } from '#gateway/health/probe-gateway.ts'
import { openProbeLeaf } from '#gateway/health/probe-leaf.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import { domain, type Holder, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { eventually } from '#tests/support/until.ts'

const timeoutMs = 250
const servers: Server[] = []
let root: Holder
let gateway: { readonly cert: string; readonly key: string }
let context: SecureContext

const chained = async (root: Holder, cluster: string) => {
  const issuing = await makeIssuing(root, cluster)
  const names = identityNames(spiffeId(domain(cluster), 'istio-system', 'gateway'))
  const leaf = await make({ profile: 'gateway', names, by: issuing })
  return { cert: leaf.pem + issuing.pem, key: leaf.key.keyPem }
}

/** The leaf of cluster a's relay. */
async function leafOf(root: Holder, roots = root.pem): Promise<SecureContext> {
  const issuing = await makeIssuing(root, 'a')
  const leaf = openProbeLeaf({
    trustDomain: domain('a'),
    authority: () => ({ signer: issuing.key, chain: [issuing.certificate] }),
    roots: () => roots,
    clock: () => new Date(),
    log: { warn: (_facts, text) => expect.fail(text) },
  })
  return await eventually(30_000, 'a leaf', () => leaf.context())
}

beforeAll(async () => {
  root = await makeRoot()
  gateway = await chained(root, 'b')
  context = await leafOf(root)
})
afterAll(() => {
  for (const server of servers) server.close()
})

const listening = (server: Server): Promise<ProbeTarget> =>
  new Promise((resolve) => {
    servers.push(server)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address ? address.port : 0
      resolve({ address: '127.0.0.1', port, sni: 'probe.b.mesh1', trustDomains: ['b.mesh1'] })
    })
  })

/** A gateway as Envoy serves it: client certificates of this mesh's roots only. */
const served = (answer: (socket: TLSSocket) => void, own = gateway) =>
  listening(
    createTlsServer({ ...own, ca: root.pem, requestCert: true, rejectUnauthorized: true }, (socket) => {
      socket.on('error', () => undefined)
      answer(socket)
    }),
  )
const well = (socket: TLSSocket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n'))

const probe = (target: ProbeTarget, by = context) => probeGateway(target, by, timeoutMs)

test('a gateway that knows this relay and answers is well, and is told the reserved name', async () => {
  const seen: unknown[] = []
  const target = await served((socket) => {
    seen.push(socket.servername, socket.getPeerCertificate().subjectaltname)
    well(socket)
  })
  expect(await probe(target)).toEqual({ result: 'ok' })
  expect(seen).toEqual(['probe.b.mesh1', 'URI:spiffe://a.mesh1/ns/isthmus-system/sa/relay'])
})

test('a slow answer within the time is an answer; after it, it is none', async () => {
  const after = (ms: number) =>
    served((socket) => socket.once('data', () => setTimeout(() => socket.end('HTTP/1.1 200 OK\r\n\r\n'), ms)))
  expect(await probe(await after(timeoutMs * 0.6))).toEqual({ result: 'ok' })
  expect(await probe(await after(timeoutMs * 2))).toEqual({ result: 'timeout', detail: 'no answer after TLS' })
})

test('nobody listens: refused', async () => {
  const target = await served(well)
  servers.pop()?.close()
  expect(await probe(target)).toMatchObject({ result: 'refused' })
})

test('a black hole that takes connections and says nothing: timeout', async () => {
  const held: { destroy(): void }[] = []
  const target = await listening(createServer((socket) => held.push(socket)))
  expect(await probe(target)).toEqual({ result: 'timeout', detail: 'no TLS after the connection' })
  for (const socket of held) socket.destroy()
})

test('a gateway that closes before TLS is through: reset', async () => {
  expect(await probe(await listening(createServer((socket) => socket.destroy())))).toMatchObject({ result: 'reset' })
})

test.each([
  ['of another cluster', () => chained(root, 'c'), 'it is spiffe://c.mesh1/ns/istio-system/sa/gateway'],
  ['under another root', async () => chained(await makeRoot(), 'b'), 'unable to get local issuer certificate'],
])('a gateway with a certificate %s is alive, and is said', async (_name, own, detail) => {
  const probed = await probe(await served(well, await own()))
  expect(probed?.result).toBe('trust')
  expect(probed?.detail).toContain(detail)
})

test('a gateway that does not know this relay, speaks no TLS, or answers otherwise is alive', async () => {
  const stranger = await leafOf(await makeRoot(), root.pem)
  expect(await probe(await served(well), stranger)).toMatchObject({ result: 'trust' })
  const plain = await listening(
    createServer((socket) => {
      socket.on('error', () => undefined)
      socket.end('SSH-2.0-x\r\n')
    }),
  )
  expect(await probe(plain)).toMatchObject({ result: 'trust' })
  const other = await served((socket) => socket.once('data', () => socket.end('HTTP/1.1 503 no\r\n\r\n')))
  expect(await probe(other)).toEqual({ result: 'trust', detail: 'it answers "HTTP/1.1 503 no" and not 200' })
})

test('a fault of this machine says nothing about the gateway', async () => {
  const target = await served(well)
  // A process that stands still cannot tell who was late.
  const asked = probe({ ...(await listening(createServer(() => undefined))), sni: target.sni })
  const until = performance.now() + timeoutMs + 350
  await new Promise((resolve) => setImmediate(resolve))
  while (performance.now() < until);
  expect(await asked).toBeUndefined()
})
