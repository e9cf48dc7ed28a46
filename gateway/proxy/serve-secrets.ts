import { chmodSync, rmSync } from 'node:fs'
import { type MethodDefinition, Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import {
  type Answered,
  type Asked,
  readDeltaRequest,
  readRequest,
  writeDeltaResponse,
  writeResponse,
} from '#gateway/proxy/discovery.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { Problem } from '#mesh/model/problem.ts'

export type SecretServer = {
  /** Replaces all secrets at once; every stream that asked for one hears of it. */
  readonly publish: (secrets: ReadonlyMap<string, Uint8Array>) => void
  readonly close: () => Promise<void>
}

type Held = { readonly version: string; readonly secrets: ReadonlyMap<string, Uint8Array> }
type Stream = ServerDuplexStream<Asked, Answered>

/** Envoy asks for two; more names on one stream are a mistake or an attack. */
const namesMax = 64

/**
 * Serves Envoy's secrets (SDS, both dialects) on a unix socket of mode 0600. Nothing is answered before the first
 * `publish`; one response per stream is outstanding at a time, and the newest secrets replace those not yet sent.
 * Throws `unavailable` where the socket cannot be opened. Source: Envoy's xDS protocol page, SDS.
 */
export async function serveSecrets(socket: string, log: Log): Promise<SecretServer> {
  const streams = new Set<() => void>()
  let held: Held | undefined
  let count = 0

  const serve = (delta: boolean) => (stream: Stream) => {
    const wanted = new Set<string>()
    const sent = new Map<string, string>()
    const unknown = new Set<string>()
    let outstanding = ''
    const offer = () => {
      if (outstanding !== '' || !held) return
      const { version, secrets } = held
      const resources = [...wanted].flatMap((name) => {
        const bytes = secrets.get(name)
        return bytes && sent.get(name) !== version ? [{ name, version, bytes }] : []
      })
      const removed = delta ? [...unknown].filter((name) => !secrets.has(name)) : []
      unknown.clear()
      if (resources.length === 0 && removed.length === 0) return
      for (const { name } of resources) sent.set(name, version)
      count += 1
      outstanding = String(count)
      stream.write({ version, nonce: outstanding, resources, removed })
    }
    stream.on('data', (asked: Asked) => {
      if (asked.nonce !== '' && asked.nonce === outstanding) outstanding = ''
      if (asked.refused !== undefined)
        log.error({ reason: asked.refused }, 'Envoy refuses a secret; it keeps the old one')
      const names = asked.subscribe.filter((name) => !wanted.has(name))
      if (!delta) for (const name of wanted) if (!asked.subscribe.includes(name)) forget(wanted, sent, name)
      for (const name of asked.unsubscribe) forget(wanted, sent, name)
      for (const name of names.slice(0, namesMax - wanted.size)) {
        wanted.add(name)
        unknown.add(name)
        const version = asked.held.get(name)
        if (version !== undefined) sent.set(name, version)
      }
      offer()
    })
    const close = () => streams.delete(offer)
    stream.on('end', () => stream.end())
    stream.on('close', close)
    stream.on('cancelled', close)
    stream.on('error', close)
    streams.add(offer)
  }

  const server = new Server({ 'grpc.enable_channelz': 0, 'grpc.max_receive_message_length': 1_048_576 })
  server.addService(service, { streamSecrets: serve(false), deltaSecrets: serve(true) })
  rmSync(socket, { force: true })
  await new Promise<void>((done, fail) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (cause) =>
      cause
        ? fail(new Problem('unavailable', `the secret socket ${socket} cannot be opened; mend --dir`, { cause }))
        : done(),
    )
  })
  chmodSync(socket, 0o600)
  return {
    publish: (secrets) => {
      count += 1
      held = { version: String(count), secrets }
      for (const offer of streams) offer()
    },
    close: async () => {
      server.forceShutdown()
      rmSync(socket, { force: true })
    },
  }
}

function forget(wanted: Set<string>, sent: Map<string, string>, name: string): void {
  wanted.delete(name)
  sent.delete(name)
}

const path = '/envoy.service.secret.v3.SecretDiscoveryService'
const stream = (
  name: string,
  read: (bytes: Uint8Array) => Asked,
  write: (answer: Answered) => Uint8Array,
): MethodDefinition<Asked, Answered> => ({
  path: `${path}/${name}`,
  requestStream: true,
  responseStream: true,
  requestDeserialize: read,
  requestSerialize: () => Buffer.alloc(0),
  responseSerialize: (answer) => Buffer.from(write(answer)),
  responseDeserialize: () => ({ version: '', nonce: '', resources: [], removed: [] }),
})

const service = {
  streamSecrets: stream('StreamSecrets', readRequest, writeResponse),
  deltaSecrets: stream('DeltaSecrets', readDeltaRequest, writeDeltaResponse),
}
