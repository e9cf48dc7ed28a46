import { chmodSync, rmSync } from 'node:fs'
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { frame, onMessages } from '#gateway/grpc/frames.ts'
import {
  type Asked,
  readDeltaRequest,
  readRequest,
  writeDeltaResponse,
  writeResponse,
} from '#gateway/proxy/discovery.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { Problem } from '#mesh/model/problem.ts'

export type SecretServer = {
  /** Replaces all secrets at once; every stream that asked for one hears of it. */
  readonly publish: (secrets: ReadonlyMap<string, Uint8Array>) => void
  readonly close: () => void
}

type Held = { readonly version: string; readonly secrets: ReadonlyMap<string, Uint8Array> }

/** Envoy asks for two; more names on one stream are a mistake or an attack. */
const namesMax = 64
const messageBytesMax = 1_048_576

const dialects = {
  '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets': {
    delta: false,
    read: readRequest,
    write: writeResponse,
  },
  '/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets': {
    delta: true,
    read: readDeltaRequest,
    write: writeDeltaResponse,
  },
} as const
type Dialect = (typeof dialects)[keyof typeof dialects]
const dialectOf = (path: string | undefined): Dialect | undefined =>
  Object.entries(dialects).find(([one]) => one === path)?.[1]

/**
 * Serves Envoy's secrets (SDS, both dialects) on a unix socket of mode 0600. Nothing is answered before the first
 * `publish`; one response per stream is outstanding at a time, and the newest secrets replace those not yet sent.
 * Throws `unavailable` where the socket cannot be opened. Source: Envoy's xDS protocol page, SDS.
 */
export async function serveSecrets(socket: string, log: Log): Promise<SecretServer> {
  const offers = new Set<() => void>()
  const sessions = new Set<ServerHttp2Session>()
  let held: Held | undefined
  let count = 0
  const next = () => {
    count += 1
    return String(count)
  }

  const serve = (stream: ServerHttp2Stream, dialect: Dialect) => {
    const { offer, hear } = streamState({
      delta: dialect.delta,
      held: () => held,
      send: (answer) => {
        const nonce = next()
        stream.write(frame(dialect.write({ ...answer, nonce })))
        return nonce
      },
    })
    onMessages(stream, messageBytesMax, (message) => {
      const asked = dialect.read(message)
      if (asked.refused !== undefined)
        log.error({ reason: asked.refused }, 'Envoy refuses a secret and keeps the old one')
      hear(asked)
    })
    offers.add(offer)
    stream.on('close', () => offers.delete(offer))
    stream.on('end', () => stream.end())
  }

  const server = createServer({ maxSessionMemory: 16 })
  server.on('session', (session) => {
    sessions.add(session)
    session.on('close', () => sessions.delete(session)).on('error', () => session.destroy())
  })
  server.on('sessionError', () => undefined)
  server.on('stream', (stream, headers) => {
    stream.on('error', (err) => log.debug({ err }, 'a secret stream broke'))
    const dialect = dialectOf(headers[':path'])
    const status = { ':status': 200, 'content-type': 'application/grpc' }
    if (!dialect) return stream.respond({ ...status, 'grpc-status': '12' }, { endStream: true })
    stream.respond(status, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    serve(stream, dialect)
  })
  rmSync(socket, { force: true })
  await new Promise<void>((done, fail) => {
    const refuse = (cause: Error) =>
      fail(
        new Problem('unavailable', `the socket for the key cannot be opened: ${fileFault(cause)}`, {
          cause,
          extra: { on: socket, mend: 'give another directory with --dir' },
        }),
      )
    server.once('error', refuse)
    server.listen(socket, done)
  })
  chmodSync(socket, 0o600)
  return {
    publish: (secrets) => {
      held = { version: next(), secrets }
      for (const offer of offers) offer()
    },
    close: () => {
      server.close()
      for (const session of sessions) session.destroy()
      rmSync(socket, { force: true })
    },
  }
}

type Sending = {
  readonly delta: boolean
  readonly held: () => Held | undefined
  /** Sends, and gives back the nonce. */
  readonly send: (answer: {
    readonly version: string
    readonly resources: readonly { readonly name: string; readonly version: string; readonly bytes: Uint8Array }[]
    readonly removed: readonly string[]
  }) => string
}

/** What one stream wants and has: `hear` takes what Envoy says, `offer` sends what is due. */
function streamState({ delta, held, send }: Sending): {
  readonly offer: () => void
  readonly hear: (asked: Asked) => void
} {
  const wanted = new Map<string, { sent?: string }>()
  const unknown = new Set<string>()
  let outstanding = ''
  const offer = () => {
    const now = held()
    if (outstanding !== '' || !now) return
    const { version, secrets } = now
    const resources = [...wanted].flatMap(([name, { sent }]) => {
      const bytes = secrets.get(name)
      return bytes && sent !== version ? [{ name, version, bytes }] : []
    })
    const removed = delta ? [...unknown].filter((name) => !secrets.has(name)) : []
    unknown.clear()
    if (resources.length === 0 && removed.length === 0) return
    for (const { name } of resources) wanted.set(name, { sent: version })
    outstanding = send({ version, resources, removed })
  }
  const hear = (asked: Asked) => {
    if (asked.nonce === outstanding) outstanding = ''
    const dropped = delta ? asked.unsubscribe : [...wanted.keys()].filter((name) => !asked.subscribe.includes(name))
    for (const name of dropped) wanted.delete(name)
    for (const name of asked.subscribe) {
      if (wanted.has(name) || wanted.size >= namesMax) continue
      const version = asked.held.get(name)
      wanted.set(name, version === undefined ? {} : { sent: version })
      unknown.add(name)
    }
    offer()
  }
  return { offer, hear }
}
