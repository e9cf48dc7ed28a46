import { writeSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { Server as GrpcServer, type Metadata, ServerCredentials, status } from '@grpc/grpc-js'
import { WebSocketServer } from 'ws'
import { centreServingNames } from '#mesh/trust/names.ts'
import { make, makeControlPlaneCa } from '#tests/support/authorities.ts'
import { appPorts, echoService, type Said } from '#tests/support/protocols.ts'

// The application of the end-to-end tests: speaks every protocol on its own port, and each answer says who gave it.
const { CLUSTER: cluster = '', POD: pod = '', LISTEN: host = '127.0.0.1' } = process.env

const said = (protocol: string, text: string, xfcc: unknown): Said => ({
  cluster,
  pod,
  protocol,
  text,
  caller: xfcc === undefined ? '' : String(xfcc),
})
const xfcc = 'x-forwarded-client-cert'

/**
 * This part of the HTTP answers (of this path alone, where one is said) has this status, and every answer, of gRPC too,
 * takes so long: set by `/answer?status=…&part=…&path=…&afterMs=…`, called beside the proxy.
 */
let asked = { status: 200, part: 0, path: '', afterMs: 0 }

/** Written before it is answered and out of reach of a SIGKILL: orders of two lines were carried out twice. */
const note = (order: string) => writeSync(1, `order ${order}\n`)

const http = createHttpServer((request, response) => {
  const [path, query] = (request.url ?? '').split('?')
  if (path === '/answer') {
    const words = new URLSearchParams(query)
    const number = (name: string) => Number(words.get(name) ?? 0)
    asked = {
      status: number('status'),
      part: number('part'),
      path: words.get('path') ?? '',
      afterMs: number('afterMs'),
    }
  }
  const order = request.headers['x-order']
  const parts: Buffer[] = []
  request.on('data', (part: Buffer) => parts.push(part))
  request.on('end', () => {
    const text = `${request.method} ${request.url} ${Buffer.concat(parts)}`.trim()
    const body = JSON.stringify(said(`HTTP/${request.httpVersion}`, text, request.headers[xfcc]))
    if (order !== undefined) note(String(order))
    const isMeant = path !== '/answer' && (asked.path === '' || path === asked.path)
    const status = isMeant && Math.random() < asked.part ? asked.status : 200
    const answer = () => response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    if (path !== '/answer' && asked.afterMs > 0) setTimeout(answer, asked.afterMs)
    else answer()
  })
})
// Longer than its proxy keeps a connection: an application that closes first loses what is sent to it in that moment.
http.keepAliveTimeout = 7_200_000
const webSockets = new WebSocketServer({ server: http })
webSockets.on('connection', (socket, request) => {
  socket.on('error', () => socket.terminate())
  socket.on('message', (data) => socket.send(JSON.stringify(said('WebSocket', String(data), request.headers[xfcc]))))
})

const http2 = createHttp2Server((request, response) => {
  request.resume()
  response.setHeader('content-type', 'application/json')
  response.end(
    JSON.stringify(said(`HTTP/${request.httpVersion}`, `${request.method} ${request.url}`, request.headers[xfcc])),
  )
})

const grpc = new GrpcServer()
const callerOf = (metadata: Metadata) => metadata.get(xfcc)[0]
grpc.addService(echoService, {
  say: (
    call: { request: Buffer; metadata: Metadata },
    done: (fault: { code: number; details: string } | null, answer?: Buffer) => void,
  ) => {
    const text = `${call.request}`
    if (text === 'refuse') return done({ code: status.FAILED_PRECONDITION, details: `${pod} refuses` })
    if (text.startsWith('order ')) note(text.slice(6))
    const answer = () => done(null, Buffer.from(JSON.stringify(said('gRPC', text, callerOf(call.metadata)))))
    if (asked.afterMs > 0) setTimeout(answer, asked.afterMs)
    else answer()
  },
  chat: (call: import('@grpc/grpc-js').ServerDuplexStream<Buffer, Buffer>) => {
    call.on('data', (message: Buffer) =>
      call.write(Buffer.from(JSON.stringify(said('gRPC stream', `${message}`, callerOf(call.metadata))))),
    )
    call.on('end', () => call.end())
    call.on('error', () => undefined)
  },
})

/** Speaks first, as databases and mail servers do, then echoes. */
function greet(protocol: string, socket: Socket): void {
  socket.on('error', () => socket.destroy())
  socket.write(`${JSON.stringify(said(protocol, 'welcome', undefined))}\n`)
  socket.on('data', (part) => socket.write(part))
}
const tcp = createTcpServer((socket) => greet('TCP', socket))

/** Nobody of the mesh knows this certificate: a proxy that carries the bytes needs to know nothing of it. */
const ownCa = await makeControlPlaneCa()
const own = await make({ profile: 'centre-serving', names: centreServingNames([`${pod}.test`], []), by: ownCa })
const tls = createTlsServer({ cert: own.pem, key: own.key.keyPem }, (socket) => greet('TLS', socket))

const servers: readonly [Server, number][] = [
  [http, appPorts.http],
  [http2, appPorts.http2],
  [tcp, appPorts.tcp],
  [tls, appPorts.tls],
]
for (const [server, port] of servers) server.listen(port, host)
grpc.bindAsync(`${host}:${appPorts.grpc}`, ServerCredentials.createInsecure(), (fault) => {
  if (fault) throw fault
})
process.on('SIGTERM', () => process.exit(0))
