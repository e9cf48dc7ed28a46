import { createServer, request } from 'node:http'

export type ProxyFault = 'throttle' | 'denied' | 'unavailable' | 'reset' | 'hang' | 'slow'

/** In front of a real service: answers as an unwell one does, for as many calls as it is told, and passes on the rest. */
export type FaultProxy = {
  readonly url: string
  /** Calls that came in so far. */
  readonly seen: () => number
  /** The next `times` calls fare so. */
  fail(fault: ProxyFault, times: number): void
  stop(): Promise<void>
}

const answers = {
  throttle: [400, 'ThrottlingException', 'Rate exceeded'],
  denied: [400, 'AccessDeniedException', 'User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:Sign'],
  unavailable: [503, 'ServiceUnavailableException', 'try again'],
} as const

export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const to = new URL(target)
  let seen = 0
  let next: ProxyFault[] = []
  const server = createServer((req, res) => {
    seen += 1
    const fault = next.shift()
    if (fault === 'hang') return void req.resume()
    if (fault === 'reset') return void req.socket.destroy()
    if (fault && fault !== 'slow') {
      req.resume()
      const [status, type, message] = answers[fault]
      const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-errortype': type }
      return void res.writeHead(status, headers).end(JSON.stringify({ __type: type, message }))
    }
    const { method, url: path, headers } = req
    const up = request({ host: to.hostname, port: to.port, method, path, headers }, (answer) => {
      const pass = (): void => {
        res.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(res)
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
    fail: (fault, times) => {
      next = [...next, ...Array.from({ length: times }, () => fault)]
    },
    stop: () =>
      new Promise<void>((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
