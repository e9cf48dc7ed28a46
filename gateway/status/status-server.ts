import { createServer } from 'node:http'
import { type AskedPath, parseAskedPath } from '#gateway/status/asked-path.ts'
import { Problem, problemKinds } from '#mesh/model/problem.ts'

export type StatusParts = {
  /** Answers 200 on /readyz while true. */
  readonly ready: () => boolean
  readonly status: () => object
  /** What proxies are served from, in the API's form: for whoever asks while the centre is away. */
  readonly served: { readonly endpoints: () => object; readonly config: () => object }
  /** The path of one call; undefined while nothing is known. Throws `invalid`. */
  readonly explain: (asked: AskedPath) => object | undefined
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>
}

/**
 * Plain HTTP for whoever watches this relay: `/healthz`, `/readyz`, `/metrics`, `/status`, and what it serves,
 * `/endpoints` and `/config`, and why a call goes where it goes: `/explain?pod=<ns>/<pod>&host=<host>&port=<port>`.
 * No secrets, nothing to change.
 * Throws `conflict` where the address is taken, naming the setting.
 */
export function serveStatus(
  listen: { readonly host: string; readonly port: number },
  parts: StatusParts,
): Promise<{ close(): void }> {
  const server = createServer((request, response) => {
    request.resume()
    const answer = (status: number, type: string, text: string) =>
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text)
    const json = (value: object) => answer(200, 'application/json', `${JSON.stringify(value)}\n`)
    const [path, query] = (request.url ?? '').split('?')
    const explained = (query: string | undefined) => {
      try {
        const found = parts.explain(parseAskedPath(query))
        if (found) json(found)
        else answer(503, 'text/plain', 'this relay has not joined yet: nothing is known\n')
      } catch (error) {
        const isOurs = !(error instanceof Problem)
        answer(isOurs ? 500 : problemKinds[error.kind].http, 'text/plain', `${(error as Error).message}\n`)
      }
    }
    if (request.method !== 'GET') answer(405, 'text/plain', 'only GET\n')
    else if (path === '/healthz') answer(200, 'text/plain', 'ok\n')
    else if (path === '/readyz')
      parts.ready() ? answer(200, 'text/plain', 'ready\n') : answer(503, 'text/plain', 'not ready\n')
    else if (path === '/status') json(parts.status())
    else if (path === '/endpoints') json(parts.served.endpoints())
    else if (path === '/config') json(parts.served.config())
    else if (path === '/explain') explained(query)
    else if (path === '/metrics')
      parts.metrics().then(
        ({ type, text }) => answer(200, type, text),
        (error: Error) => answer(500, 'text/plain', `${error.message}\n`),
      )
    else answer(404, 'text/plain', 'try /healthz, /readyz, /metrics, /status, /endpoints, /config or /explain\n')
  })
  server.headersTimeout = 5000
  server.requestTimeout = 5000
  server.maxConnections = 64
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new Problem(
          'conflict',
          `the relay's status cannot listen on ${listen.host}:${listen.port}: ${(cause as Error).message}; ` +
            'set relay.statusAddress and relay.statusPort',
          { cause },
        ),
      ),
    )
    server.listen(listen, () =>
      resolve({
        close: () => {
          server.close()
          server.closeAllConnections()
        },
      }),
    )
  })
}
