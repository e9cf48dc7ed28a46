import { createServer as createTlsServer } from 'node:https'
import { createServer } from 'node:net'
import { streamPorts } from '../plan.ts'
import { type PodFacts, servedBy } from './call.ts'
import { ownTls } from './own-tls.ts'

/**
 * The ports of `echo` beside its HTTP one: plain TCP whose server speaks first, as databases do, and then echoes; and TLS
 * with a certificate of the application's own (HTTPS, so that curl can ask), of which the mesh sees bytes only.
 */
export async function serveStreams(facts: PodFacts): Promise<void> {
  const served = servedBy(facts, {})
  createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.write(`${JSON.stringify({ protocol: 'TCP', served })}\n`)
    socket.pipe(socket)
  }).listen(streamPorts.tcp, facts.listen)
  createTlsServer(await ownTls(facts.pod), (request, response) => {
    request.resume()
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    response.end(JSON.stringify({ protocol: 'TLS', path: request.url, served }))
  }).listen(streamPorts.tls, facts.listen)
}
