import { lookup } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

/**
 * A small program for pods: says who it is on every path. `/ready` answers 503 until READY_AFTER_MS have passed and from
 * SIGTERM on; what is under way then is answered. `/file?<path>` says what is in a file, `/lookup?<name>` its addresses.
 */
const { POD = '', VERSION = '', PORT = '8080', READY_AFTER_MS = '0' } = process.env
const readyAt = performance.now() + Number(READY_AFTER_MS)
let ending = false

async function asked(url = '/'): Promise<object> {
  const [path, what = ''] = url.split('?')
  try {
    if (path === '/file') return { text: await readFile(what, 'utf8') }
    if (path === '/lookup') return { addresses: (await lookup(what, { all: true })).map(({ address }) => address) }
    return {}
  } catch (fault) {
    return { fault: String(fault) }
  }
}

const server = createServer(async ({ url, headers }, answer) => {
  const found = await asked(url)
  const isReady = !ending && performance.now() >= readyAt
  answer.statusCode = url === '/ready' && !isReady ? 503 : 200
  answer.setHeader('content-type', 'application/json')
  answer.end(JSON.stringify({ pod: POD, version: VERSION, url, host: headers.host, ...found }))
})
server.listen(Number(PORT), '0.0.0.0')

process.on('SIGTERM', () => {
  ending = true
  server.close()
  server.closeIdleConnections()
  // Callers that still hold a connection may send something on it for a moment.
  setTimeout(() => process.exit(0), 500)
})
