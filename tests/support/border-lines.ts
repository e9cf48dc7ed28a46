import { request } from 'node:http'
import { connect } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Leaf } from '#mesh/translate/testdata/real-envoy.ts'
import type { Border } from '#tests/support/served-border.ts'

/** Something that is open from a caller to the application in cluster b. */
export type Line = {
  readonly what: string
  /** Says a text and waits until the same comes back; throws when the line was cut meanwhile. */
  readonly say: (text: string) => Promise<void>
  readonly end: () => void
  /** When it was cut, by `performance.now`; undefined while it is open. */
  readonly cutAt: () => number | undefined
}

function echoing(what: string, line: Duplex | Readable, write: (text: string) => void): Line {
  let heard = ''
  let cut: { readonly how: string; readonly at: number } | undefined
  let look = (): void => undefined
  line.on('data', (data: Buffer) => {
    heard += data.toString()
    look()
  })
  for (const event of ['error', 'end', 'close'])
    line.on(event, () => {
      cut ??= { how: event, at: performance.now() }
      look()
    })
  return {
    what,
    end: () => line.destroy(),
    cutAt: () => cut?.at,
    say: (text) =>
      new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error(`${what}: no echo of ${text} in 3 s`)), 3000)
        look = () => {
          if (!heard.includes(text) && cut === undefined) return
          clearTimeout(timer)
          if (cut === undefined) done()
          else fail(new Error(`${what} was cut (${cut.how})`))
        }
        if (cut === undefined) write(text)
        look()
      }),
  }
}

const openTcp = async (host: string): Promise<Line> => {
  const socket = connect({ host, port: 7000 })
  return echoing('a TCP connection', socket, (text) => socket.write(text))
}

const openPost = (host: string): Promise<Line> =>
  new Promise((done, fail) => {
    const call = request({ host, port: 9080, method: 'POST', headers: { host: 'reviews' }, agent: false })
    call.on('response', (answer) => {
      if (answer.statusCode === 200) done(echoing('a slow POST', answer, (text) => call.write(text)))
      else fail(new Error(`answered ${answer.statusCode}`))
    })
    call.on('error', fail)
    call.write('begin')
  })

const openWebSocket = (host: string): Promise<Line> =>
  new Promise((done, fail) => {
    const headers = { host: 'reviews', connection: 'Upgrade', upgrade: 'websocket' }
    const call = request({ host, port: 9080, headers, agent: false })
    call.on('upgrade', (_, socket) => done(echoing('a WebSocket', socket, (text) => socket.write(text))))
    call.on('response', (answer) => fail(new Error(`answered ${answer.statusCode}`)))
    call.on('error', fail)
    call.end()
  })

/** One of each kind from the proxy in a cluster to the application in cluster b; each has been used once. */
export async function openLines(border: Border, cluster: 'a' | 'c'): Promise<readonly Line[]> {
  const { http, tcp } = border.at.out[cluster]
  const lines = [await openTcp(tcp), await openPost(http), await openWebSocket(http)]
  for (const line of lines) await line.say('first')
  return lines
}

/** One TLS connection of its own to the pod in b. */
export type Knock = {
  /** The status of one request on it, or `refused`. */
  readonly ask: () => Promise<string>
  readonly end: () => void
  /** When it was closed, by `performance.now`; undefined while it is open. */
  readonly cutAt: () => number | undefined
}

export async function knock(border: Border, leaf: Leaf): Promise<Knock> {
  const socket: TLSSocket = connectTls({
    host: border.at.server,
    port: 9080,
    ca: border.root,
    checkServerIdentity: () => undefined,
    cert: leaf.chain,
    key: leaf.key,
    minVersion: 'TLSv1.3',
  })
  let cutAt: number | undefined
  let told: ((text: string) => void) | undefined
  const tell = (text: string) => told?.(text)
  socket.on('data', (data: Buffer) => tell(data.toString().slice(9, 12)))
  for (const event of ['error', 'close'])
    socket.on(event, () => {
      cutAt ??= performance.now()
      tell('refused')
    })
  return {
    end: () => socket.destroy(),
    cutAt: () => cutAt,
    ask: () =>
      new Promise((done) => {
        told = done
        if (cutAt !== undefined) done('refused')
        else socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
      }),
  }
}

export async function knockOnce(border: Border, leaf: Leaf): Promise<string> {
  const line = await knock(border, leaf)
  const said = await line.ask()
  line.end()
  return said
}
