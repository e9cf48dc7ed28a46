import { createServer } from 'node:http'
import { createServer as createHttp2 } from 'node:http2'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { frame } from '#gateway/grpc/frames.ts'
import { type AppProbe, parseAppProbes, probeApp } from '#gateway/proxy/app-probes.ts'

const path = '/app-health/web/readyz'
const probeOf = (probe: object): AppProbe => {
  const found = parseAppProbes(JSON.stringify({ [path]: probe }))?.get(path)
  if (!found) throw new Error('no probe')
  return found
}

test('probes are read as Kubernetes writes them', () => {
  const httpHeaders = [{ name: 'Host', value: 'shop' }]
  expect(probeOf({ httpGet: { port: 80, path: 'x', scheme: 'HTTPS', httpHeaders }, timeoutSeconds: 3 })).toEqual({
    ...{ kind: 'http', port: 80, path: '/x', isTls: true, headers: { host: 'shop' }, timeoutMs: 3000 },
  })
  expect(probeOf({ tcpSocket: { port: '80' } })).toEqual({ kind: 'tcp', port: 80, timeoutMs: 1000 })
  expect(probeOf({ grpc: { port: 80, service: 'a' } })).toMatchObject({ kind: 'grpc', service: 'a' })
  expect(parseAppProbes('')).toEqual(new Map())
})

test.each([
  'x',
  '[]',
  '{"/other":{"tcpSocket":{"port":1}}}',
  `{"${path}":{"tcpSocket":{"port":"http"}}}`,
  `{"${path}":{}}`,
])('%s are no probes', (text) => expect(parseAppProbes(text)).toBeUndefined())

let from: string | undefined
let health = 1
const web = createServer((ask, answer) => {
  from = ask.socket.remoteAddress
  if (ask.url === '/silent') return
  answer.writeHead(ask.url === '/good' ? 204 : 500).end()
})
const speaks = createHttp2().on('stream', (stream) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
  stream.on('data', () => stream.end(frame(Buffer.of(0x08, health))))
})
const tcp = createTcp((socket) => socket.on('error', () => undefined))
const portOf = (server: Pick<Server, 'address'>): number => (server.address() as AddressInfo).port

beforeAll(async () => {
  for (const server of [web, speaks, tcp]) await new Promise<void>((done) => server.listen(0, '127.0.0.9', done))
})
afterAll(() => {
  for (const server of [web, speaks, tcp]) server.close()
  web.closeAllConnections()
})

const ask = (probe: object) => probeApp(probeOf(probe), '127.0.0.9')

test('HTTP is asked from the address that redirection leaves alone, and its status is handed on', async () => {
  expect(await ask({ httpGet: { port: portOf(web), path: '/good' } })).toMatchObject({ code: 204 })
  expect(from).toBe('127.0.0.6')
  expect(await ask({ httpGet: { port: portOf(web), path: '/bad' } })).toMatchObject({ code: 500 })
})

test('an application that is silent, or not there, is not well', async () => {
  const silent = { ...probeOf({ httpGet: { port: portOf(web), path: '/silent' } }), timeoutMs: 50 }
  expect(await probeApp(silent, '127.0.0.9')).toMatchObject({ code: 503, text: expect.stringMatching(/no answer/) })
  expect(await ask({ tcpSocket: { port: 9 } })).toMatchObject({ code: 503 })
  expect(await ask({ grpc: { port: 9 } })).toMatchObject({ code: 503 })
})

test('TCP is well where it takes a connection', async () => {
  expect(await ask({ tcpSocket: { port: portOf(tcp) } })).toMatchObject({ code: 200 })
})

test('gRPC is well where it says that it serves', async () => {
  const probe = { grpc: { port: portOf(speaks), service: 'shop' } }
  expect(await ask(probe)).toMatchObject({ code: 200 })
  health = 2
  expect(await ask(probe)).toMatchObject({ code: 503 })
})
