import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { answerQuery, queryBytesMax, type Resolve } from '#gateway/dns/answer-query.ts'
import { Problem } from '#mesh/model/problem.ts'

export type DnsParts = {
  readonly address: string
  /** 0 = any that is free. */
  readonly port: number
  readonly resolve: Resolve
  readonly log: { warn(facts: object, text: string): void }
  readonly limits?: Partial<DnsLimits>
  /** Ms of a clock that never goes back. */
  readonly now?: () => number
}

export type DnsLimits = {
  /** Over UDP, of all askers together: what comes beyond is dropped, as by a full line. */
  readonly queriesPerSecond: number
  readonly connections: number
  /** A connection that asks nothing for so long is ended. */
  readonly idleMs: number
}

const usual: DnsLimits = { queriesPerSecond: 20_000, connections: 256, idleMs: 10_000 }

/** Answers for the cluster set over UDP and TCP at one address. */
export type DnsServer = {
  readonly port: number
  counts(): { readonly answered: number; readonly dropped: number }
  close(): Promise<void>
}

/** Rejects with `conflict` where the port is taken. */
export async function serveDns(parts: DnsParts): Promise<DnsServer> {
  const limits = { ...usual, ...parts.limits }
  const { resolve, log, now = () => performance.now() } = parts
  let [answered, dropped] = [0, 0]
  let closing: Promise<void> | undefined
  let bucket = { left: limits.queriesPerSecond, at: now() }
  const connections = new Set<Socket>()

  const tcp = createServer((socket) => serveConnection(socket))
  tcp.maxConnections = limits.connections
  // The number that TCP got is asked for over UDP; where another program has it there, the next one is tried.
  const { udp, port } = await bindBoth(parts, tcp)
  udp.on('message', (query, { port: to, address }) => {
    if (!mayAnswer()) return
    const answer = answerQuery(query, 'udp', resolve)
    if (!answer) return
    answered += 1
    udp.send(answer, to, address)
  })
  udp.on('error', (error) => log.warn({ err: error.message }, 'the DNS port had a fault'))
  tcp.on('error', (error) => log.warn({ err: error.message }, 'the DNS port had a fault'))

  return {
    port,
    counts: () => ({ answered, dropped }),
    close: () => {
      closing ??= end()
      return closing
    },
  }

  async function end(): Promise<void> {
    for (const socket of connections) socket.destroy()
    await Promise.all([
      new Promise<void>((done) => udp.close(done)),
      new Promise<void>((done) => tcp.close(() => done())),
    ])
  }

  function mayAnswer(): boolean {
    const at = now()
    const left = Math.min(limits.queriesPerSecond, bucket.left + ((at - bucket.at) / 1000) * limits.queriesPerSecond)
    bucket = { left: left >= 1 ? left - 1 : left, at }
    if (left < 1) dropped += 1
    return left >= 1
  }

  /** One query after the other, each after its length. A connection that sends what is none is ended. */
  function serveConnection(socket: Socket): void {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.setTimeout(limits.idleMs, () => socket.destroy())
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (piece) => {
      rest = Buffer.concat([rest, typeof piece === 'string' ? Buffer.from(piece) : piece])
      while (rest.length >= 2) {
        const length = rest.readUInt16BE(0)
        if (length > queryBytesMax) return void socket.destroy()
        if (rest.length < 2 + length) return
        const answer = answerQuery(rest.subarray(2, 2 + length), 'tcp', resolve)
        rest = rest.subarray(2 + length)
        if (!answer) return void socket.destroy()
        answered += 1
        const head = Buffer.alloc(2)
        head.writeUInt16BE(answer.length)
        // Who does not read what it asked for is not served on.
        if (!socket.write(Buffer.concat([head, answer]))) return pause(socket)
      }
    })
  }

  function pause(socket: Socket): void {
    socket.pause()
    socket.once('drain', () => {
      socket.resume()
      socket.emit('data', Buffer.alloc(0))
    })
  }
}

const tries = 10

async function bindBoth({ address, port }: DnsParts, tcp: Server): Promise<{ udp: UdpSocket; port: number }> {
  for (let at = 1; ; at += 1) {
    const found = await listen(tcp, { address, port })
    try {
      return { udp: await bind({ address, port: found }), port: found }
    } catch (error) {
      await new Promise<void>((done) => tcp.close(() => done()))
      if (port !== 0 || at === tries) throw error
    }
  }
}

const listen = (tcp: Server, { address, port }: { address: string; port: number }): Promise<number> =>
  new Promise((done, fail) => {
    const failed = (error: Error) => fail(taken(error, 'TCP', address, port))
    tcp.once('error', failed)
    tcp.listen(port, address, () => {
      tcp.off('error', failed)
      const bound = tcp.address()
      done(typeof bound === 'object' && bound ? bound.port : port)
    })
  })

const bind = ({ address, port }: { address: string; port: number }): Promise<UdpSocket> =>
  new Promise((done, fail) => {
    const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    udp.once('error', (error) => fail(taken(error, 'UDP', address, port)))
    udp.bind(port, address, () => {
      udp.removeAllListeners('error')
      done(udp)
    })
  })

const taken = (error: Error, how: string, address: string, port: number): Problem =>
  new Problem('conflict', `DNS cannot be answered at ${address}:${port} (${how}): ${error.message}`, { cause: error })
