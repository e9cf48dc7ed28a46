import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'

// The floor: a bare HTTP/2 server on TLS with client certificates that writes the same bytes to every open stream. No
// program in Node can reach all of its clients sooner.

type Order =
  | { readonly do: 'open'; readonly key: string; readonly cert: string; readonly clientCas: string }
  | { readonly do: 'push'; readonly bytes: number }
  | { readonly do: 'memory' }

const streams = new Set<ServerHttp2Stream>()
const say = (answer: object) => process.send?.(answer)

process.on('message', (order: Order) => {
  if (order.do === 'open') return open(order)
  if (order.do === 'memory') {
    globalThis.gc?.()
    globalThis.gc?.()
    return say({ streams: streams.size, ...process.memoryUsage() })
  }
  const frame = Buffer.alloc(5 + order.bytes)
  frame.writeUInt32BE(order.bytes, 1)
  const at = process.hrtime.bigint()
  for (const stream of streams) stream.write(frame)
  say({ at })
})

function open({ key, cert, clientCas }: Extract<Order, { do: 'open' }>): void {
  const server = createSecureServer({ key, cert, ca: clientCas, requestCert: true, rejectUnauthorized: false })
  server.on('sessionError', () => undefined)
  server.on('stream', (stream) => {
    stream.on('error', () => undefined)
    stream.on('close', () => streams.delete(stream))
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    stream.resume()
    streams.add(stream)
  })
  server.listen(0, '127.0.0.1', () => say({ port: (server.address() as AddressInfo).port }))
}
