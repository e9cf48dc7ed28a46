import { chmodSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { FleetWatch } from './fleet-state.ts'

/** Serves the fleet's state to the shop's page, read only, on a Unix socket that the front door passes `/sandbox/` to. */
export type StateDoor = { close(): void }

const everyMs = 250
const clientsMax = 32
/** A reader that does not read is let go. */
const waitingBytesMax = 2 * 1024 * 1024

export function serveState(path: string, watch: FleetWatch): Promise<StateDoor> {
  const clients = new Set<ServerResponse>()
  let sentUntil = 0
  const server = createServer((request, response) => {
    request.resume()
    const where = (request.url ?? '').split('?')[0]
    if (request.method !== 'GET') response.writeHead(405).end()
    else if (where === '/sandbox/state') json(response, watch.state())
    else if (where === '/sandbox/events') stream(response)
    else response.writeHead(404, { 'content-type': 'text/plain' }).end('try /sandbox/state or /sandbox/events\n')
  })
  const timer = setInterval(() => clients.size > 0 && tell(), everyMs)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve({
        close: () => {
          clearInterval(timer)
          server.close()
          server.closeAllConnections()
        },
      })
    })
  })

  function stream(response: ServerResponse): void {
    if (clients.size >= clientsMax)
      return void response.writeHead(503, { 'retry-after': '5' }).end('too many pages are open\n')
    tell()
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write(event('state', watch.state()))
    clients.add(response)
    response.on('close', () => clients.delete(response))
    response.on('error', () => clients.delete(response))
  }

  /** To each the same bytes: the visits that ended since the time before. */
  function tell(): void {
    const { requests, ...rest } = watch.state()
    const fresh = requests.filter(({ n }) => n > sentUntil)
    sentUntil = requests.at(-1)?.n ?? sentUntil
    const text = event('change', { ...rest, requests: fresh })
    for (const one of clients) {
      if (one.writableLength > waitingBytesMax) one.destroy()
      else one.write(text)
    }
  }
}

const event = (name: string, data: object): string => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

function json(response: ServerResponse, value: object): void {
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(value))
}
