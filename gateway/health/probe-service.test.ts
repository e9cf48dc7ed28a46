import { performServerHandshake, type ServerHttp2Stream } from 'node:http2'
import { createServer, type Server } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { frame } from '#gateway/grpc/frames.ts'
import type { Probed } from '#gateway/health/ask-over-tls.ts'
import { probeService, type ServiceTarget } from '#gateway/health/probe-service.ts'
import { type Holder, makeRoot } from '#tests/support/authorities.ts'
import { blackHole, type Identity, leafOf, listenOn, podOf, servingAs } from '#tests/support/probed-gateway.ts'

/** Of whoever answers: on a busy machine a handshake takes its time. */
const timeoutMs = 15_000
/** Of whoever does not. */
const shortMs = 700
const servers: Server[] = []
let root: Holder
let books: Identity
let context: SecureContext

beforeAll(async () => {
  root = await makeRoot()
  books = await podOf(root, 'b', 'books')
  context = (await leafOf(root)).made
})
afterAll(() => {
  for (const server of servers) server.close()
})

type Probe = ServiceTarget['probe']
const http: Probe = { kind: 'http', path: '/healthz' }

async function asked(server: Server, probe: Probe, limitMs = timeoutMs): Promise<Probed | undefined> {
  servers.push(server)
  const port = await listenOn(server)
  const to = { address: '127.0.0.1', port, sni: 'outbound_.80_._.books', host: 'books.shop.svc.cluster.local' }
  return probeService({ ...to, identities: ['spiffe://b.mesh1/ns/shop/sa/books'], probe }, context, limitMs)
}
const pod = (answer: (socket: TLSSocket) => void, own = books) => servingAs(root, own, answer)
const answering = (head: string) => pod((socket) => socket.once('data', () => socket.end(`${head}\r\n\r\n`)))
const grpc: Probe = { kind: 'grpc' }

test('http: a GET of the path at the service’s own name, by this relay, through the SNI of its port', async () => {
  const seen: unknown[] = []
  const server = pod((socket) => {
    seen.push(socket.servername, socket.getPeerCertificate().subjectaltname)
    socket.once('data', (part) => {
      seen.push(String(part).split('\r\n').slice(0, 2))
      socket.end('HTTP/1.1 204 No Content\r\n\r\n')
    })
  })
  expect(await asked(server, http)).toEqual({ result: 'ok' })
  expect(seen).toEqual([
    ...['outbound_.80_._.books', 'URI:spiffe://a.mesh1/ns/isthmus-system/sa/relay'],
    ['GET /healthz HTTP/1.1', 'host: books.shop.svc.cluster.local'],
  ])
})

test.each([
  ['HTTP/1.1 302 Found', { result: 'ok' }],
  ['HTTP/1.1 503 Service Unavailable', { result: 'answer', detail: '503' }],
  ['HTTP/1.1 404 Not Found', { result: 'answer', detail: '404' }],
  ['HTTP/1.1 403 Forbidden', { result: 'unsure', detail: '403' }],
  ['HTTP/1.1 401 Unauthorized', { result: 'unsure', detail: '401' }],
  ['SSH-2.0-x', { result: 'answer', detail: 'an answer that is no HTTP' }],
])('http: %s', async (head, probed) => expect(await asked(answering(head), http)).toEqual(probed))

test('a pod that closes, or says nothing, fails; where no TLS comes through it is the road behind the gateway', async () => {
  expect(
    await asked(
      pod((socket) => socket.end()),
      http,
    ),
  ).toMatchObject({ result: 'reset' })
  expect(
    await asked(
      createServer((socket) => socket.destroy()),
      http,
    ),
  ).toMatchObject({ result: 'reset' })
  const silent = [
    asked(
      pod(() => undefined),
      http,
      shortMs,
    ),
    asked(blackHole(), http, shortMs),
  ]
  // A process that stood still says nothing at all.
  for (const probed of await Promise.all(silent))
    expect(probed ?? { result: 'timeout' }).toMatchObject({ result: 'timeout' })
})

test('of a gateway that takes no connection nothing is said: it is judged by its own probe', async () => {
  const gone = createServer()
  const port = await listenOn(gone)
  await new Promise((resolve) => gone.close(resolve))
  const to = { address: '127.0.0.1', port, sni: 'x', host: 'x', identities: [], probe: http }
  expect(await probeService(to, context, timeoutMs)).toBeUndefined()
})

test('whoever is not the service is no evidence against it', async () => {
  const probed = await asked(
    pod(() => undefined, await podOf(root, 'b', 'other')),
    http,
  )
  expect(probed).toMatchObject({ result: 'unsure', detail: expect.stringContaining('/sa/other, and not spiffe://b') })
})

test('tcp: a connection that stays open a moment is well', async () => {
  const open = [() => undefined, (socket: TLSSocket) => socket.write('220 hello\r\n')]
  for (const probed of await Promise.all(open.map((one) => asked(pod(one), { kind: 'tcp' }, 2000))))
    expect(probed).toEqual({ result: 'ok' })
  expect(
    await asked(
      pod((socket) => socket.end()),
      { kind: 'tcp' },
    ),
  ).toMatchObject({ result: 'reset' })
})

test.each<[string, (stream: ServerHttp2Stream) => void, object]>([
  ['SERVING', (stream) => served(stream, [0x08, 0x01]), { result: 'ok' }],
  ['NOT_SERVING', (stream) => served(stream, [0x08, 0x02]), { result: 'answer', detail: 'NOT_SERVING' }],
  ['no status at all', (stream) => served(stream, []), { result: 'answer', detail: 'NOT_SERVING' }],
  ['UNIMPLEMENTED', (stream) => refused(stream, 12), { result: 'unsure', detail: 'gRPC status 12' }],
  ['PERMISSION_DENIED', (stream) => refused(stream, 7), { result: 'unsure', detail: 'gRPC status 7' }],
  ['UNAVAILABLE', (stream) => refused(stream, 14), { result: 'answer', detail: 'gRPC status 14' }],
  [
    'HTTP 503',
    (stream) => stream.respond({ ':status': 503 }, { endStream: true }),
    { result: 'answer', detail: 'HTTP 503' },
  ],
  ['a reset', (stream) => stream.close(2), { result: 'reset', detail: 'it closed the connection' }],
])('grpc: %s', async (_what, answer, probed) => {
  const paths: unknown[] = []
  const server = pod((socket) => {
    const session = performServerHandshake(socket)
    session.on('error', () => undefined)
    session.on('stream', (stream, headers) => {
      paths.push(headers[':path'])
      stream.on('error', () => undefined)
      answer(stream)
    })
  })
  expect(await asked(server, grpc)).toEqual(probed)
  expect(paths).toEqual(['/grpc.health.v1.Health/Check'])
})

function served(stream: ServerHttp2Stream, message: readonly number[]): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(frame(Uint8Array.from(message)))
}

/** Trailers alone, as Envoy refuses gRPC. */
const refused = (stream: ServerHttp2Stream, status: number): void =>
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': String(status) },
    { endStream: true },
  )
