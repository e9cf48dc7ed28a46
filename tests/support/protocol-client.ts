import { request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { createInterface, type Interface } from 'node:readline'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { Client, credentials } from '@grpc/grpc-js'
import WebSocket from 'ws'
import { echoService, parseSaid, type Said } from '#tests/support/protocols.ts'

/** Where to call, and the name that is meant there. */
export type Target = { readonly address: string; readonly port: number; readonly host: string }
export type HttpAnswer = { readonly status: number; readonly body: string; readonly headers: object }

const timeoutMs = 10_000
const asProxy: ConnectionOptions = { rejectUnauthorized: false, minVersion: 'TLSv1.3', ALPNProtocols: ['istio'] }

/** One HTTP/1.1 request on a connection of its own. Throws where no answer comes. */
export function httpCall(to: Target, path = '/', body?: string): Promise<HttpAnswer> {
  const { address, port, host } = to
  return new Promise((resolve, reject) => {
    const call = request(
      {
        ...{ host: address, port, path, agent: false, timeout: timeoutMs },
        method: body === undefined ? 'GET' : 'POST',
        headers: { host: `${host}:${port}` },
      },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8')
        answer.on('data', (part) => {
          text += part
        })
        answer.on('error', reject)
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text, headers: answer.headers }))
      },
    )
    call.on('timeout', () => call.destroy(new Error(`no answer from ${host}:${port} in ${timeoutMs} ms`)))
    call.on('error', reject)
    call.end(body)
  })
}

export async function sayHttp(to: Target, path?: string, body?: string): Promise<Said> {
  const answer = await httpCall(to, path, body)
  if (answer.status !== 200) throw new Error(`${to.host}:${to.port} answered ${answer.status}: ${answer.body}`)
  return parseSaid(answer.body)
}

/** `count` requests at once on one cleartext HTTP/2 connection. */
export async function sayHttp2(to: Target, count: number): Promise<Said[]> {
  const session = connectHttp2(`http://${to.address}:${to.port}`)
  session.on('error', () => undefined)
  try {
    return await Promise.all(
      Array.from({ length: count }, (_, n) => {
        const stream = session.request({ ':path': `/${n}`, ':authority': `${to.host}:${to.port}` })
        stream.setTimeout(timeoutMs, () => stream.destroy(new Error(`no answer from ${to.host}:${to.port}`)))
        return new Promise<Said>((resolve, reject) => {
          let text = ''
          stream.setEncoding('utf8')
          stream.on('data', (part) => {
            text += part
          })
          stream.on('error', reject)
          stream.on('end', () => {
            try {
              resolve(parseSaid(text))
            } catch (cause) {
              reject(new Error(`${to.host}:${to.port} answered ${text}`, { cause }))
            }
          })
        })
      }),
    )
  } finally {
    session.destroy()
  }
}

const grpcClient = (to: Target) =>
  new Client(`${to.address}:${to.port}`, credentials.createInsecure(), {
    'grpc.default_authority': `${to.host}:${to.port}`,
    'grpc.use_local_subchannel_pool': 1,
  })
const asIs = (bytes: Buffer): Buffer => bytes
const deadline = () => Date.now() + timeoutMs

/** One unary call; rejects with the ServiceError as it came. */
export function sayGrpc(to: Target, text: string): Promise<Said> {
  const client = grpcClient(to)
  return new Promise<Said>((resolve, reject) => {
    const path = echoService['say']?.path ?? ''
    client.makeUnaryRequest(path, asIs, asIs, Buffer.from(text), { deadline: deadline() }, (fault, answer) =>
      fault || !answer ? reject(fault ?? new Error('no answer')) : resolve(parseSaid(`${answer}`)),
    )
  }).finally(() => client.close())
}

/** One stream in both directions: each message is sent only when the one before was answered. */
export async function chatGrpc(to: Target, messages: readonly string[]): Promise<Said[]> {
  const client = grpcClient(to)
  const stream = client.makeBidiStreamRequest(echoService['chat']?.path ?? '', asIs, asIs, { deadline: deadline() })
  try {
    return await new Promise<Said[]>((resolve, reject) => {
      const answers: Said[] = []
      const next = () => {
        const message = messages[answers.length]
        if (message === undefined) stream.end()
        else stream.write(Buffer.from(message))
      }
      stream.on('data', (answer: Buffer) => {
        answers.push(parseSaid(`${answer}`))
        next()
      })
      stream.on('error', reject)
      stream.on('status', ({ code }) => code === 0 && resolve(answers))
      next()
    })
  } finally {
    stream.cancel()
    client.close()
  }
}

/** One WebSocket; each message is sent only when the one before was answered. */
export function sayWebSocket(to: Target, messages: readonly string[]): Promise<Said[]> {
  const socket = new WebSocket(`ws://${to.address}:${to.port}/`, {
    headers: { host: `${to.host}:${to.port}` },
    handshakeTimeout: timeoutMs,
  })
  return new Promise<Said[]>((resolve, reject) => {
    const answers: Said[] = []
    const late = setTimeout(() => reject(new Error(`the WebSocket to ${to.host} fell silent`)), timeoutMs)
    const next = () => {
      const message = messages[answers.length]
      if (message !== undefined) return socket.send(message)
      clearTimeout(late)
      resolve(answers)
    }
    socket.on('open', next)
    socket.on('message', (data) => {
      answers.push(parseSaid(String(data)))
      next()
    })
    socket.on('error', reject)
    socket.on('close', (code) => reject(new Error(`the WebSocket to ${to.host} ended with ${code}`)))
  }).finally(() => socket.terminate())
}

/** A connection whose far end speaks first: gives its greeting, and what comes back for `line`. */
async function sayStream(
  socket: Socket,
  line: string,
  silentMs = timeoutMs,
): Promise<{ greeting: Said; echo: string }> {
  try {
    return await new Promise((resolve, reject) => {
      const lines: string[] = []
      socket.setTimeout(silentMs, () => reject(new Error('the connection fell silent')))
      socket.on('error', reject)
      socket.on('close', () => reject(new Error(`the connection was closed after ${lines.length} lines`)))
      createInterface({ input: socket })
        .on('line', (text) => {
          lines.push(text)
          if (lines.length === 1) socket.write(`${line}\n`)
          else resolve({ greeting: parseSaid(lines[0] ?? ''), echo: text })
        })
        .on('error', reject)
    })
  } finally {
    socket.destroy()
  }
}

export const sayTcp = (to: Target, line: string, silentMs = timeoutMs) =>
  sayStream(connect(to.port, to.address), line, silentMs)

/** A connection that stays open. */
export type OpenStream = {
  /** What the far end said first. */
  readonly greeting: string
  /** Whether a line sent now comes back on it. */
  readonly echoes: (line: string) => Promise<boolean>
  /** Whether the far end has closed it. */
  readonly ended: () => boolean
  readonly close: () => void
}

export const openTcp = (to: Target): Promise<OpenStream> => openStream(connect(to.port, to.address))

/** The same by hand: with TLS as a mesh proxy speaks it. */
export const openTls = (options: ConnectionOptions): Promise<OpenStream> =>
  openStream(connectTls({ ...asProxy, ...options }))

async function openStream(socket: Socket): Promise<OpenStream> {
  const lines = createInterface({ input: socket })
  let closed = false
  socket
    .on('error', () => undefined)
    .on('close', () => {
      closed = true
    })
  const greeting = await onceLine(lines)
  if (greeting === undefined) throw new Error('the connection was closed before a greeting came')
  return {
    greeting,
    close: () => socket.destroy(),
    ended: () => closed,
    echoes: async (line) => {
      if (closed) return false
      const answer = onceLine(lines)
      socket.write(`${line}\n`)
      return (await answer) === line
    },
  }
}

/** The next line; undefined where the connection ends or stays silent. */
function onceLine(lines: Interface): Promise<string | undefined> {
  return new Promise((resolve) => {
    const late = setTimeout(() => resolve(undefined), timeoutMs)
    const done = (line?: string) => {
      clearTimeout(late)
      resolve(line)
    }
    lines.once('line', done)
    lines.once('close', () => done())
  })
}

/** TLS of the application's own: also gives the names in the certificate that arrived. */
export async function sayTls(to: Target, line: string): Promise<{ greeting: Said; echo: string; names: string }> {
  const socket = connectTls({ host: to.address, port: to.port, servername: to.host, rejectUnauthorized: false })
  let names = ''
  socket.on('secureConnect', () => {
    names = socket.getPeerCertificate().subjectaltname ?? ''
  })
  return { ...(await sayStream(socket, line)), names }
}

/** What became of one dialled connection: the bytes that came, and how it ended: `closed`, `silent` or an error's code. */
export type Outcome = { readonly received: string; readonly end: string }

/** One HTTP/1.1 request as text, after whose answer the far end closes. */
export const requestText = (headers: Readonly<Record<string, string>> = {}): string =>
  `${['GET /by-hand HTTP/1.1', ...Object.entries({ host: 'x', connection: 'close', ...headers }).map((h) => h.join(': '))].join('\r\n')}\r\n\r\n`

/** Dials with TLS as a mesh proxy does and sends `send`. Resolves when the far end has closed, or has been silent too long. */
export function dialTls(options: ConnectionOptions, send: string): Promise<Outcome> {
  return outcomeOf(connectTls({ ...asProxy, ...options }), send)
}

export const dialPlain = (to: { readonly address: string; readonly port: number }, send: string): Promise<Outcome> =>
  outcomeOf(connect(to.port, to.address), send)

function outcomeOf(socket: Socket | TLSSocket, send: string): Promise<Outcome> {
  return new Promise((resolve) => {
    let received = ''
    let end = 'closed'
    const done = () => {
      clearTimeout(late)
      socket.destroy()
      resolve({ received, end })
    }
    const late = setTimeout(() => {
      end = 'silent'
      done()
    }, timeoutMs)
    socket.on('error', (fault: NodeJS.ErrnoException) => {
      end = fault.code ?? fault.message
    })
    socket.on('data', (part) => {
      received += part.toString('latin1')
    })
    socket.on('close', done)
    socket.write(send)
  })
}
