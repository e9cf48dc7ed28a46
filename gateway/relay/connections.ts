import { createServer, type Server, type Socket } from 'node:net'
import { Problem } from '#mesh/model/problem.ts'

export type Address = { readonly host: string; readonly port: number }

/** `direct`: what comes in there is served here, whatever `front` says. */
export type ListenAddress = Address & { readonly direct?: true }

/** Takes a connection, or gives it to `serve`: another process may be the one for it. */
export type Front = (socket: Socket, serve: (socket: Socket) => void) => void

export type ConnectionLimits = {
  readonly connections: number
  readonly connectionsPerAddress: number
  /** A connection that starts no call for so long is closed. */
  readonly silentMs: number
}

export type Connections = {
  readonly addresses: readonly Address[]
  /** A call came in on this connection (`host:port` of the far end). */
  readonly called: (peer: string) => void
  /** Closes the connection under a call whose client does not read: ending the call would wait for it. */
  readonly drop: (peer: string) => void
  readonly count: () => number
  readonly close: () => void
}

/**
 * Listens on every address and hands the sockets to `accept`. Own sockets, so that a stuck one can be closed and each
 * far end counted. Port 0 in the first address chooses one; later addresses with port 0 take the same.
 * Throws `conflict` naming the address that is taken; then nothing is open.
 */
export async function listen(
  wanted: readonly ListenAddress[],
  accept: (socket: Socket) => void,
  limits: ConnectionLimits,
  front?: Front,
): Promise<Connections> {
  const open = new Map<string, Socket>()
  const perHost = new Map<string, number>()

  const onConnection = (socket: Socket, take: (socket: Socket) => void) => {
    const host = socket.remoteAddress ?? ''
    const mine = (perHost.get(host) ?? 0) + 1
    if (open.size >= limits.connections || mine > limits.connectionsPerAddress) return void socket.destroy()
    const peer = `${host}:${socket.remotePort}`
    perHost.set(host, mine)
    open.set(peer, socket)
    socket.setTimeout(limits.silentMs, () => socket.destroy())
    socket.on('error', () => socket.destroy())
    socket.once('close', () => {
      open.delete(peer)
      const left = (perHost.get(host) ?? 1) - 1
      if (left > 0) perHost.set(host, left)
      else perHost.delete(host)
    })
    take(socket)
  }

  const servers: Server[] = []
  const close = () => {
    for (const server of servers) server.close()
    for (const socket of open.values()) socket.destroy()
  }
  const addresses: Address[] = []
  for (const { host, port, direct } of wanted) {
    const take = front && !direct ? (socket: Socket) => front(socket, accept) : accept
    const server = createServer({ noDelay: true }, (socket) => onConnection(socket, take))
    servers.push(server)
    try {
      addresses.push({ host, port: await listenOn(server, host, port || (addresses[0]?.port ?? 0)) })
    } catch (cause) {
      close()
      throw new Problem('conflict', `the relay cannot listen on ${host}:${port}: ${reasonOf(cause)}`, { cause })
    }
  }

  return {
    addresses,
    called: (peer) => void open.get(peer)?.setTimeout(0),
    drop: (peer) => void open.get(peer)?.destroy(),
    count: () => open.size,
    close,
  }
}

const listenOn = (server: Server, host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, backlog: 4096 }, () => {
      server.removeListener('error', reject)
      const bound = server.address()
      resolve(typeof bound === 'object' && bound ? bound.port : port)
    })
  })

const reasonOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))
