import { once } from 'node:events'
import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from 'node:http2'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { frame } from '#gateway/grpc/frames.ts'
import { type GrpcServer, grpcServer } from '#gateway/grpc/server.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type FakeCluster, makeFakeCluster } from '#tests/support/fake-relay.ts'

const large = Buffer.alloc(1 << 20, 7)
let pki: FakeCluster
let server: GrpcServer
let listener: Server
let session: ClientHttp2Session
let left = 0

const serving = () => ({ cert: pki.serving.pem, key: pki.serving.key.keyPem, clientCas: pki.root.pem })

beforeAll(async () => {
  pki = await makeFakeCluster('a')
  server = grpcServer({
    serving: serving(),
    messageBytes: 100_000,
    onCall: () => undefined,
    methods: {
      '/a.B/Echo': { kind: 'unary', answer: async (message) => message },
      '/a.B/Refuse': {
        kind: 'unary',
        answer: async () => {
          throw new Problem('too-many', 'slow down, 50 % of you')
        },
      },
      '/a.B/Explain': {
        kind: 'unary',
        answer: async () => {
          throw new Problem('invalid', '😀'.repeat(20_000))
        },
      },
      '/a.B/Flood': {
        kind: 'stream',
        serve: (call) => call.write([frame(large)], () => (left += 1)),
      },
    },
  })
  listener = createServer(server.accept)
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done))
  session = connect(`https://127.0.0.1:${(listener.address() as AddressInfo).port}`, {
    ca: pki.controlPlane.pem,
    settings: { initialWindowSize: 1 << 16 },
    checkServerIdentity: () => undefined,
  })
})
afterAll(() => {
  session.destroy()
  server.close()
  listener.close()
})

type Answer = { readonly headers: object; readonly trailers: object; readonly body: Buffer }

const ask = (headers: OutgoingHttpHeaders, body?: Buffer): Promise<Answer> =>
  new Promise((done, fail) => {
    const call = session.request({ ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers', ...headers })
    const seen = { headers: {}, trailers: {} }
    const parts: Buffer[] = []
    call.on('response', (said) => (seen.headers = said))
    call.on('trailers', (said) => (seen.trailers = said))
    call.on('data', (part: Buffer) => parts.push(part))
    call.on('error', fail)
    call.on('end', () => done({ ...seen, body: Buffer.concat(parts) }))
    call.end(body)
  })

describe('a call', () => {
  test('is answered, with status 0 in the trailers', async () => {
    const { trailers, body } = await ask({ ':path': '/a.B/Echo' }, frame(Buffer.from('hello')))
    expect(body).toEqual(frame(Buffer.from('hello')))
    expect(trailers).toMatchObject({ 'grpc-status': '0' })
  })

  test('that is refused has the status of the problem, its text percent-encoded', async () => {
    const { headers } = await ask({ ':path': '/a.B/Refuse' }, frame(Buffer.from('hello')))
    expect(headers).toMatchObject({ 'grpc-status': '8', 'grpc-message': 'slow%20down,%2050%20%25%20of%20you' })
  })

  test('that is refused at length has the beginning of it', async () => {
    const { headers } = await ask({ ':path': '/a.B/Explain' }, frame(Buffer.from('hello')))
    expect(headers).toMatchObject({ 'grpc-status': '3' })
  })

  test.each([
    ['a method that nobody serves', { ':path': '/a.B/None' }, { ':status': 200, 'grpc-status': '12' }],
    ['no message', { ':path': '/a.B/Echo' }, { 'grpc-status': '3' }],
    ['JSON', { ':path': '/a.B/Echo', 'content-type': 'application/json' }, { ':status': 415 }],
    ['another verb', { ':path': '/a.B/Echo', ':method': 'PUT' }, { ':status': 405 }],
  ])('%s is told so', async (_name, headers, expected) => {
    expect((await ask(headers)).headers).toMatchObject(expected)
  })

  test.each([
    ['too long', frame(Buffer.alloc((64 << 10) + 1))],
    ['compressed', Buffer.from([1, 0, 0, 0, 1, 0])],
  ])('with a message that is %s is refused', async (_name, body) => {
    const { headers } = await ask({ ':path': '/a.B/Echo' }, body)
    expect(headers).toMatchObject({ 'grpc-status': '3', 'grpc-message': expect.stringContaining('bytes') })
  })
})

test('a call whose message does not come in time is ended', async () => {
  await ask({ ':path': '/a.B/Echo' }, frame(Buffer.from('warm')))
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const call = session.request({ ':method': 'POST', ':path': '/a.B/Echo', 'content-type': 'application/grpc' })
  call.write(frame(Buffer.from('hello')).subarray(0, 7))
  const told = once(call, 'response')
  while (vi.getTimerCount() === 0) await new Promise((done) => setImmediate(done))
  vi.advanceTimersByTime(30_000)
  vi.useRealTimers()
  expect((await told)[0]).toMatchObject({ 'grpc-status': '14' })
})

test('a large message that nobody reads is not taken, and arrives whole when it is read', async () => {
  const call = session.request({ ':method': 'POST', ':path': '/a.B/Flood', 'content-type': 'application/grpc' })
  await new Promise((done) => call.once('response', done))
  await new Promise((done) => setTimeout(done, 200))
  expect(left).toBe(0)
  let size = 0
  call.on('data', (part: Buffer) => {
    size += part.length
  })
  while (left === 0) await new Promise((done) => setTimeout(done, 10))
  while (size < large.length + 5) await new Promise((done) => setTimeout(done, 10))
  expect(size).toBe(large.length + 5)
  call.close()
})

test('a certificate that is none is refused, and the one before goes on', async () => {
  expect(() => server.rotate({ ...serving(), cert: 'none' })).toThrow(Problem)
  expect((await ask({ ':path': '/a.B/Echo' }, frame(Buffer.from('x')))).trailers).toMatchObject({ 'grpc-status': '0' })
})

test.each(['TLSv1.2', 'TLSv1.3'] as const)('no TLS session of %s is taken up again', async (maxVersion) => {
  const { port } = listener.address() as AddressInfo
  const sessions: Buffer[] = []
  const reused: boolean[] = []
  for (let dials = 0; dials < 3; dials += 1) {
    const kept = sessions.at(-1)
    const socket = connectTls({
      ...{ port, host: '127.0.0.1', ca: pki.controlPlane.pem, ALPNProtocols: ['h2'], maxVersion },
      ...(kept && { session: kept }),
      checkServerIdentity: () => undefined,
    })
    socket.on('session', (session: Buffer) => sessions.push(session))
    // Its answer to the client's first words comes after its tickets.
    socket.write(
      Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from('000000040000000000', 'hex')]),
    )
    await once(socket, 'data')
    const session = socket.getSession()
    if (session) sessions.push(session)
    reused.push(socket.isSessionReused())
    socket.destroy()
  }
  expect(sessions.length).toBeGreaterThan(0)
  expect(reused).toEqual([false, false, false])
})
