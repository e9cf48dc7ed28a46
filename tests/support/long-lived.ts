import { Client, credentials } from '@grpc/grpc-js'
import WebSocket from 'ws'
import { openTcp, type Target } from '#tests/support/protocol-client.ts'
import { echoService, parseSaid } from '#tests/support/protocols.ts'

/** Something that stays open and says which cluster it hangs on, until it ends. */
export type LongLived = {
  readonly kind: string
  readonly cluster: string
  /** When it ended, by `performance.now()`; undefined while it is open. */
  ended(): number | undefined
  close(): void
}

const openMs = 10_000
const asIs = (bytes: Buffer): Buffer => bytes

/** One stream of each kind, open and answered once. */
export async function openLongLived(to: Readonly<Record<'http' | 'grpc' | 'tcp', Target>>): Promise<LongLived[]> {
  return Promise.all([webSocket(to.http), grpcStream(to.grpc), tcp(to.tcp)])
}

function webSocket({ address, port, host }: Target): Promise<LongLived> {
  const headers = { host: `${host}:${port}` }
  const socket = new WebSocket(`ws://${address}:${port}/`, { headers, handshakeTimeout: openMs })
  return opened('WebSocket', {
    say: () => socket.once('open', () => socket.send('hello')),
    onText: (take) => socket.on('message', (data) => take(String(data))),
    onEnd: (end) => socket.on('close', end).on('error', end),
    close: () => socket.terminate(),
  })
}

function grpcStream({ address, port, host }: Target): Promise<LongLived> {
  const client = new Client(`${address}:${port}`, credentials.createInsecure(), {
    'grpc.default_authority': `${host}:${port}`,
    'grpc.use_local_subchannel_pool': 1,
  })
  const stream = client.makeBidiStreamRequest(echoService['chat']?.path ?? '', asIs, asIs)
  return opened('gRPC stream', {
    say: () => void stream.write(Buffer.from('hello')),
    onText: (take) => stream.on('data', (answer: Buffer) => take(`${answer}`)),
    onEnd: (end) => stream.on('error', end).on('end', end),
    close: () => {
      stream.cancel()
      client.close()
    },
  })
}

async function tcp(to: Target): Promise<LongLived> {
  const { greeting, ended, close } = await openTcp(to)
  let at: number | undefined
  const look = setInterval(() => {
    at ??= ended() ? performance.now() : undefined
  }, 50)
  return {
    ...{ kind: 'TCP', cluster: parseSaid(greeting).cluster, ended: () => at },
    close: () => {
      clearInterval(look)
      close()
    },
  }
}

type Line = {
  readonly say: () => void
  readonly onText: (take: (text: string) => void) => unknown
  readonly onEnd: (end: (why?: unknown) => void) => unknown
  readonly close: () => void
}

function opened(kind: string, line: Line): Promise<LongLived> {
  let at: number | undefined
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the ${kind} said nothing`)), openMs)
    line.onText((text) => {
      clearTimeout(late)
      resolve({ kind, cluster: parseSaid(text).cluster, ended: () => at, close: line.close })
    })
    line.onEnd((why) => {
      at ??= performance.now()
      clearTimeout(late)
      reject(new Error(`the ${kind} ended: ${String(why)}`))
    })
    line.say()
  })
}
