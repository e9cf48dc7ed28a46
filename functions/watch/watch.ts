import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Note } from '#control/bus.ts'
import { type ClusterCaller, requireCluster } from '#control/caller.ts'
import { headsFor, hintFor } from '#control/deliver.ts'
import { callerOf } from '#functions/api/authorise.ts'
import type { Door } from '#functions/api/door.ts'
import { problemResponse, toProblem } from '#functions/api/problem.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Hint, helloSchema, keepaliveMs } from '#mesh/wire/hint.ts'
import { checkVersion } from '#mesh/wire/version.ts'

export type Watch = {
  /** Takes over an HTTP upgrade, whatever its path: a wrong one is answered with a problem. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Closes every connection; relays come back by themselves. */
  close(): void
}

const watchLimits = {
  connections: 5000,
  perCluster: 8,
  /** Bytes that may wait for one reader; past it its frames are dropped, and it pulls because their numbers are missing. */
  bufferedBytes: 256 * 1024,
  helloMs: 10_000,
  pingMs: 25_000,
  frameBytes: 4096,
} as const

/** Close codes of RFC 6455 §7.4: ours are in the private range. */
const closed = { goingAway: 1001, policy: 1008, version: 4409, void: 4401 } as const

type Connection = {
  readonly socket: WebSocket
  readonly caller: ClusterCaller
  /** Number of the next frame; undefined until the hello came. */
  n: number | undefined
  alive: boolean
  /** When heads were last sent. */
  toldAt: number
}

/**
 * The WebSocket door: hints for relays. It remembers the connections and nothing else; whatever it loses, a relay finds by
 * its next pull. Memory per reader is bounded, and one slow reader holds up nobody.
 */
export function openWatch(door: Door): Watch {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: watchLimits.frameBytes,
  })
  const connections = new Set<Connection>()
  const unlisten = door.centre.bus.listen(onNote)
  const beat = setInterval(onBeat, watchLimits.pingMs)
  beat.unref()

  return {
    upgrade: (request, socket, head) => {
      const onError = () => socket.destroy()
      socket.on('error', onError)
      admit(request).then(
        (caller) => {
          socket.off('error', onError)
          server.handleUpgrade(request, socket, head, (ws) => open(ws, caller))
        },
        (error: unknown) => refuse(socket, toProblem(error), request.url ?? ''),
      )
    },
    close: () => {
      clearInterval(beat)
      unlisten()
      for (const { socket } of connections) socket.close(closed.goingAway, 'the centre is stopping')
      setTimeout(() => {
        for (const { socket } of connections) socket.terminate()
      }, 1000).unref()
    },
  }

  async function admit(request: IncomingMessage): Promise<ClusterCaller> {
    const path = (request.url ?? '').split('?')[0]
    if (path !== '/v1/watch') throw new Problem('not-found', `no WebSocket is served at ${path?.slice(0, 200)}`)
    const address = request.socket.remoteAddress ?? 'unknown'
    const caller = requireCluster(await callerOf(door, request.headers.authorization, address))
    const own = [...connections].filter((one) => one.caller.id === caller.id)
    if (connections.size >= watchLimits.connections)
      throw new Problem('unavailable', 'this centre holds as many hint connections as it can: pull meanwhile')
    if (own.length >= watchLimits.perCluster)
      throw new Problem('too-many', `cluster "${caller.name}" holds ${own.length} hint connections: close one first`)
    return caller
  }

  function open(socket: WebSocket, caller: ClusterCaller): void {
    const connection: Connection = { socket, caller, n: undefined, alive: true, toldAt: 0 }
    connections.add(connection)
    door.metrics.watchers.set(connections.size)
    const hello = setTimeout(() => socket.close(closed.policy, 'no hello within 10 s'), watchLimits.helloMs)
    socket.on('message', (data) => {
      connection.alive = true
      if (connection.n !== undefined) return
      clearTimeout(hello)
      greet(connection, data.toString()).catch((error: unknown) => {
        door.centre.log.warn({ err: error, cluster: caller.name }, 'a hint connection could not be greeted')
        socket.close(1011)
      })
    })
    socket.on('pong', () => {
      connection.alive = true
    })
    socket.on('ping', () => {
      connection.alive = true
    })
    socket.on('error', () => socket.terminate())
    socket.on('close', () => {
      clearTimeout(hello)
      connections.delete(connection)
      door.metrics.watchers.set(connections.size)
    })
  }

  async function greet(connection: Connection, text: string): Promise<void> {
    const hello = helloSchema.safeParse(parseJson(text))
    if (!hello.success) return connection.socket.close(closed.policy, 'the first frame must be a hello with proto')
    try {
      checkVersion(hello.data.proto, 'relay')
    } catch (error) {
      return connection.socket.close(closed.version, toProblem(error).message.slice(0, 120))
    }
    connection.n = 0
    await tellHeads(connection)
  }

  /** All heads: what a reader missed before it connected, and whatever was lost since. */
  async function tellHeads(connection: Connection): Promise<void> {
    const heads = await headsFor(door.centre.db, connection.caller)
    connection.toldAt = performance.now()
    if (connection.n !== undefined) send(connection, { n: connection.n, heads })
  }

  function onNote(note: Note): void {
    if (note.kind === 'cluster-void') {
      for (const { socket, caller } of connections)
        if (caller.id === note.clusterId) socket.close(closed.void, 'the credential of this cluster is void')
    }
    if (note.kind !== 'streams') return
    for (const connection of connections) {
      if (connection.n === undefined) continue
      const frame = { n: connection.n, ...(note.urgent ? { urgent: true } : {}) }
      const hint = hintFor(connection.caller.name, note.changes, frame)
      if (hint) send(connection, hint)
    }
  }

  /** The number goes up also where nothing is sent: the gap is how a slow reader finds out. */
  function send(connection: Connection, hint: Hint): void {
    connection.n = hint.n + 1
    const { socket } = connection
    if (socket.readyState !== socket.OPEN) return
    const full = socket.bufferedAmount > watchLimits.bufferedBytes
    if (!full) socket.send(JSON.stringify(hint))
    const counter = full ? door.metrics.hintsDropped : door.metrics.hints
    counter.inc()
  }

  function onBeat(): void {
    const now = door.centre.now()
    for (const connection of connections) {
      const { socket, caller } = connection
      if (caller.expiresAt <= now) socket.close(closed.void, 'the access token has expired')
      else if (!connection.alive) socket.terminate()
      else {
        connection.alive = false
        socket.ping()
        if (performance.now() - connection.toldAt >= keepaliveMs)
          tellHeads(connection).catch((error: unknown) =>
            door.centre.log.warn({ err: error }, 'heads could not be told'),
          )
      }
    }
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Answers the upgrade as the API would have, and ends the connection. */
function refuse(socket: Duplex, problem: Problem, instance: string): void {
  const response = problemResponse(problem, instance.slice(0, 200))
  response.text().then(
    (text) => {
      const headers = [...response.headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')
      const status = `HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ''}\r\n`
      socket.end(`${status}${headers}content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`)
    },
    () => socket.destroy(),
  )
}
