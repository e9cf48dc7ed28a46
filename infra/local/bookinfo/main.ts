import { createServer, type IncomingMessage } from 'node:http'
import { asset, browserHeaders } from './assets.ts'
import { podFacts, servedBy } from './call.ts'
import { page } from './page.ts'
import { details, pageView, ratings, reviews } from './services.ts'

// One program for the four services, and `echo` for services of your own: which one it is, and all else about its pod, comes from the environment.
const facts = podFacts(process.env)

/** The answer to a path, or undefined where this service does not know it. */
async function answer(request: IncomingMessage): Promise<{ type: string; text: string; status?: number } | undefined> {
  const path = (request.url ?? '/').split('?')[0] ?? '/'
  const json = (value: unknown, status = 200) => ({ type: 'application/json', text: JSON.stringify(value), status })
  const id = Number(/^\/(?:api\/v1\/products|details|reviews|ratings)\/(\d{1,9})$/.exec(path)?.[1] ?? 0)
  if (path === '/health') return json({ status: `${facts.app} is healthy` })
  if (facts.app === 'details' && path.startsWith('/details/')) return json(await details(facts, id, request.headers))
  if (facts.app === 'ratings' && path.startsWith('/ratings/')) return json(ratings(facts, id, request.headers))
  if (facts.app === 'reviews' && path.startsWith('/reviews/')) return json(await reviews(facts, id, request.headers))
  if (facts.app === 'echo') return json({ path, host: request.headers.host, served: servedBy(facts, request.headers) })
  if (facts.app !== 'productpage') return undefined
  if (path === '/' || path === '/productpage')
    return { type: 'text/html; charset=utf-8', text: page(await pageView(facts, 0, request.headers)) }
  if (path.startsWith('/assets/')) return asset(path)
  if (path.startsWith('/api/v1/products/')) {
    const view = await pageView(facts, id, request.headers)
    const whole = 'body' in view.details && 'body' in view.reviews && !('failed' in (view.reviews.body.ratings ?? {}))
    // A part that is missing is a failed page for whoever counts: nothing is dressed up.
    return json(view, whole ? 200 : 502)
  }
  return undefined
}

const server = createServer((request, response) => {
  request.resume()
  answer(request).then(
    (found) => {
      response.writeHead(found ? (found.status ?? 200) : 404, {
        'content-type': found?.type ?? 'text/plain',
        'cache-control': 'no-store',
        ...(facts.app === 'productpage' ? browserHeaders : {}),
      })
      response.end(found?.text ?? 'not found')
    },
    (error: Error) => response.writeHead(500, { 'content-type': 'text/plain' }).end(error.message),
  )
})
server.keepAliveTimeout = 60_000
server.listen(facts.port, facts.listen)
if (facts.app === 'echo') await (await import('./streams.ts')).serveStreams(facts)
process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
  setTimeout(() => process.exit(0), 3000).unref()
})
