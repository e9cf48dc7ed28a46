import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'

export type ProxyFault = 'throttle' | 'denied' | 'unavailable' | 'reset' | 'hang' | 'slow'

/** In front of a real service: answers as an unwell one does, for as many calls as it is told, and passes on the rest. */
export type FaultProxy = {
  readonly url: string
  /** Calls that came in so far. */
  readonly seen: () => number
  /** The next `times` calls fare so; of those only that `match`, where it is given (what was asked: `GET /clusters`). */
  fail(fault: ProxyFault, times: number, match?: RegExp): void
  stop(): Promise<void>
}

const answers = {
  throttle: [400, 'ThrottlingException', 'Rate exceeded'],
  denied: [400, 'AccessDeniedException', 'User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:Sign'],
  unavailable: [503, 'ServiceUnavailableException', 'try again'],
} as const

/** What was asked, and the body that the service answered; gives the body that the caller sees. */
export type Rewrite = (asked: string, body: string) => string

export async function startFaultProxy(target: string, rewrite?: Rewrite): Promise<FaultProxy> {
  const to = new URL(target)
  let seen = 0
  const next: { readonly fault: ProxyFault; readonly match: RegExp | undefined }[] = []
  const server = createServer((req, res) => {
    seen += 1
    const asked = `${req.method} ${req.url}`
    const at = next.findIndex(({ match }) => match === undefined || match.test(asked))
    const fault = at === -1 ? undefined : next.splice(at, 1)[0]?.fault
    if (fault === 'hang') return void req.resume()
    if (fault === 'reset') return void req.socket.destroy()
    if (fault && fault !== 'slow') {
      req.resume()
      const [status, type, message] = answers[fault]
      const isQuery = /urlencoded/.test(req.headers['content-type'] ?? '')
      if (isQuery) return void res.writeHead(status).end(`<Code>${type}</Code><Message>${message}</Message>`)
      const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-errortype': type }
      return void res.writeHead(status, headers).end(JSON.stringify({ __type: type, message }))
    }
    const { method, url: path, headers } = req
    const up = request({ host: to.hostname, port: to.port, method, path, headers }, (answer) => {
      const pass = (): void => {
        if (rewrite) rewritten(answer, res, (body) => rewrite(asked, body))
        else answer.pipe(res.writeHead(answer.statusCode ?? 502, answer.headers))
      }
      if (fault === 'slow') setTimeout(pass, 300)
      else pass()
    })
    up.on('error', () => res.destroy())
    req.pipe(up)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    seen: () => seen,
    fail: (fault, times, match) => {
      next.push(...Array.from({ length: times }, () => ({ fault, match })))
    },
    stop: () =>
      new Promise<void>((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

function rewritten(answer: IncomingMessage, res: ServerResponse, edit: (body: string) => string): void {
  const pieces: Buffer[] = []
  answer.on('data', (piece: Buffer) => pieces.push(piece))
  answer.on('end', () => {
    const { 'content-length': _, 'transfer-encoding': __, ...headers } = answer.headers
    const body = edit(Buffer.concat(pieces).toString('utf8'))
    res.writeHead(answer.statusCode ?? 502, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body)
  })
}
