import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { frame, onMessages } from '#gateway/grpc/frames.ts'
import { callUnary } from '#gateway/proxy/grpc.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type FakeCluster, makeFakeCluster } from '#tests/support/fake-relay.ts'

let cluster: FakeCluster
let server: Http2SecureServer
let answer: (stream: ServerHttp2Stream) => void
const sockets = new Set<TLSSocket>()
beforeAll(async () => {
  cluster = await makeFakeCluster('cluster-a')
  server = createSecureServer({ key: cluster.serving.key.keyPem, cert: cluster.serving.pem })
  server.on('secureConnection', (socket: TLSSocket) => sockets.add(socket))
  server.on('sessionError', () => undefined)
  server.on('stream', (stream) => {
    stream.on('error', () => undefined)
    answer(stream)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
})
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

const call = (more: { deadlineMs?: number; port?: number } = {}) =>
  callUnary({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    path: '/a.B/C',
    headers: {},
    body: Buffer.from('ask'),
    tls: { ca: cluster.controlPlane.pem },
    serverFault: () => undefined,
    deadlineMs: 5_000,
    answerBytesMax: 100,
    ...more,
  })
const ok = { ':status': 200, 'content-type': 'application/grpc' }
const trailers = (status: string, message?: string) => (stream: ServerHttp2Stream) =>
  stream.on('wantTrailers', () =>
    stream.sendTrailers({ 'grpc-status': status, ...(message === undefined ? {} : { 'grpc-message': message }) }),
  )

test('one question, one answer', async () => {
  answer = (stream) => {
    stream.respond(ok, { waitForTrailers: true })
    trailers('0')(stream)
    onMessages(stream, 100, (message) => stream.end(frame(Buffer.from(`${message} heard`))))
  }
  expect(String(await call())).toBe('ask heard')
})

describe('anything else is a problem of the kind that the status means', () => {
  const cases: Readonly<Record<string, readonly [(stream: ServerHttp2Stream) => void, string, string]>> = {
    'a status in the headers': [
      (stream) =>
        stream.respond({ ...ok, 'grpc-status': '16', 'grpc-message': 'no%20such%20token' }, { endStream: true }),
      'unauthenticated',
      'no such token',
    ],
    'a status in the trailers, after a message': [
      (stream) => {
        stream.respond(ok, { waitForTrailers: true })
        trailers('8', 'slow down')(stream)
        stream.end(frame(Buffer.from('half')))
      },
      'too-many',
      'slow down',
    ],
    'a message with a broken escape': [
      (stream) => stream.respond({ ...ok, 'grpc-status': '3', 'grpc-message': '50%' }, { endStream: true }),
      'invalid',
      '50%',
    ],
    'a status that nobody knows': [
      (stream) => stream.respond({ ...ok, 'grpc-status': '77' }, { endStream: true }),
      'unavailable',
      'status 77',
    ],
    'no message': [
      (stream) => {
        stream.respond(ok, { waitForTrailers: true })
        trailers('0')(stream)
        stream.end()
      },
      'unavailable',
      'empty',
    ],
    'HTTP that is no gRPC': [(stream) => stream.respond({ ':status': 404 }, { endStream: true }), 'unavailable', '404'],
    'a message that is too long': [
      (stream) => {
        stream.respond(ok)
        stream.write(frame(Buffer.alloc(101)))
      },
      'invalid',
      '101 bytes',
    ],
    'a compressed message': [
      (stream) => {
        stream.respond(ok)
        stream.write(Buffer.from([1, 0, 0, 0, 1, 0]))
      },
      'invalid',
      'compressed',
    ],
    'a stream that is reset': [(stream) => stream.close(8), 'unavailable', ''],
    'a connection that is cut': [(stream) => stream.session?.socket.destroy(), 'unavailable', ''],
  }
  test.each(Object.entries(cases))('%s', async (_name, [reply, kind, text]) => {
    answer = reply
    const error: unknown = await call().then(
      () => undefined,
      (one: unknown) => one,
    )
    expect(error).toBeInstanceOf(Problem)
    expect(error).toMatchObject({ kind, message: expect.stringContaining(text) })
  })

  test('silence, until the deadline', async () => {
    answer = () => undefined
    await expect(call({ deadlineMs: 100 })).rejects.toMatchObject({
      kind: 'unavailable',
      message: 'no answer in 0.1 s',
    })
  })

  test('a server that speaks TLS 1.2 at most', async () => {
    const old = createSecureServer({
      key: cluster.serving.key.keyPem,
      cert: cluster.serving.pem,
      maxVersion: 'TLSv1.2',
    })
    old.on('tlsClientError', () => undefined).on('sessionError', () => undefined)
    await new Promise<void>((done) => old.listen(0, '127.0.0.1', done))
    const port = (old.address() as AddressInfo).port
    await expect(call({ port })).rejects.toMatchObject({ kind: 'unavailable' })
    old.close()
  })
})
