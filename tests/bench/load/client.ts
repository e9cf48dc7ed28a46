import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import { connect as tlsConnect } from 'node:tls'
import { typeUrls } from '#mesh/model/resource.ts'
import { noReferences, type References, referencesIn } from '#tests/bench/load/references.ts'
import { field, fieldsOf, framed, textField, unframer } from '#tests/bench/load/wire.ts'

export type Dial = {
  readonly host: string
  readonly port: number
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** How a client treats what it is sent. A bare one asks for nothing and only counts: it measures the floor. */
export type Manners = 'honest' | 'bare' | 'deaf' | 'refusing' | 'restless' | 'greedy'

export type LoadProxy = {
  /** Everything that listeners and clusters refer to has arrived. */
  readonly inSync: () => boolean
  readonly open: () => void
  /** Destroys the connection; what was held stays, so that the next `open` asks with its versions. */
  readonly drop: () => void
}

export type Received = (type: string, names: readonly string[], bytes: number) => void

const { cluster: cds, endpoint: eds, listener: lds, route: rds, secret: sds } = typeUrls
const types = [cds, eds, lds, rds, sds]
/** Types of which a client names what it wants. */
const namedTypes: ReadonlySet<string> = new Set([eds, rds, sds])
const window = 16 << 20

/** References by version, read once for all clients. */
const known = new Map<string, References>()

/**
 * One proxy as Envoy behaves on delta ADS: one connection, TLS sessions resumed, clusters first, endpoints asked for
 * before clusters are acknowledged, listeners when every cluster has its endpoints, routes before listeners are
 * acknowledged; on a second stream everything at once with the versions that it holds. It decodes names, versions and
 * nonces, and of clusters and listeners what they refer to.
 */
export function loadProxy(
  dial: Dial,
  node: Buffer,
  given: { readonly manners: Manners; readonly onReceived: Received; readonly onEnd: () => void },
): LoadProxy {
  const held = new Map(types.map((type) => [type as string, new Map<string, string>()]))
  const of = (type: string) => held.get(type) ?? new Map<string, string>()
  let wanted = new Map<string, Set<string>>()
  let answered = new Set<string>()
  let session: ClientHttp2Session | undefined
  let stream: ClientHttp2Stream | undefined
  let ticket: Buffer | undefined
  let listenersAsked = false
  let isFirst = true

  const send = (type: string, ...rest: readonly Buffer[]) => {
    const head = isFirst ? [field(1, node)] : []
    isFirst = false
    stream?.write(framed(Buffer.concat([...head, textField(2, type), ...rest])))
  }
  const versions = (type: string) =>
    [...of(type)].map(([name, version]) => field(5, Buffer.concat([textField(1, name), textField(2, version)])))

  /** Asks for names that are new and drops those that are gone. */
  const want = (type: string, names: Iterable<string>) => {
    const before = wanted.get(type) ?? new Set()
    const now = new Set(names)
    wanted.set(type, now)
    const added = [...now].filter((name) => !before.has(name))
    const gone = [...before].filter((name) => !now.has(name))
    for (const name of gone) of(type).delete(name)
    if (added.length + gone.length > 0)
      send(type, ...added.map((name) => textField(3, name)), ...gone.map((name) => textField(4, name)))
  }
  const hasAll = (type: string) => [...(wanted.get(type) ?? [])].every((name) => of(type).has(name))
  const isWarm = () => hasAll(eds) && hasAll(sds)

  const take = (message: Buffer) => {
    let type = ''
    let nonce = ''
    const resources: Buffer[] = []
    const removed: string[] = []
    for (const [number, bytes] of fieldsOf(message)) {
      if (number === 2) resources.push(bytes)
      else if (number === 4) type = bytes.toString()
      else if (number === 5) nonce = bytes.toString()
      else if (number === 6) removed.push(bytes.toString())
    }
    const refuses = given.manners === 'refusing'
    const names = resources.map((resource) => {
      const { name, version, body } = parts(resource)
      if (!refuses) of(type).set(name, version)
      if (!namedTypes.has(type) && !known.has(version)) known.set(version, referencesIn(type, body))
      return name
    })
    for (const name of removed) of(type).delete(name)
    given.onReceived(type, [...names, ...removed], message.length)
    if (refuses) return send(type, textField(6, nonce), field(7, Buffer.from([8, 3, 18, 2, 110, 111])))
    answered.add(type)
    if (!namedTypes.has(type)) {
      if (type === cds) want(eds, referredTo(cds, 'endpoints'))
      else want(rds, referredTo(lds, 'routes'))
      want(sds, [...referredTo(cds, 'secrets'), ...referredTo(lds, 'secrets')])
    }
    send(type, textField(6, nonce))
    if (!listenersAsked && answered.has(cds) && isWarm()) {
      listenersAsked = true
      send(lds)
    }
  }
  const referredTo = (type: string, what: keyof References) =>
    [...of(type).values()].flatMap((version) => (known.get(version) ?? noReferences)[what])

  const open = () => {
    const isAgain = of(cds).size > 0
    wanted = new Map()
    answered = new Set()
    isFirst = true
    const opened = connect(`https://${dial.host}:${dial.port}`, {
      settings: { initialWindowSize: given.manners === 'deaf' ? 0 : window, enablePush: false },
      createConnection: () => {
        const socket = tlsConnect({
          ...{ host: dial.host, port: dial.port, ca: dial.ca, cert: dial.cert, key: dial.key, ALPNProtocols: ['h2'] },
          ...(ticket ? { session: ticket } : {}),
          checkServerIdentity: () => undefined,
        })
        socket.on('session', (fresh: Buffer) => {
          ticket = fresh
        })
        return socket
      },
    })
    session = opened
    opened.on('error', () => undefined)
    opened.once('close', () => {
      if (session === opened) given.onEnd()
    })
    opened.once('connect', () => opened.destroyed || opened.setLocalWindowSize(window))
    const call = opened.request({
      ':method': 'POST',
      ':path': '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources',
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    stream = call
    call.on('error', () => undefined)
    call.on('close', () => opened.close())
    call.on('data', unframer(given.manners === 'bare' ? ({ length }) => given.onReceived('', [], length) : take))
    if (given.manners === 'bare') return
    if (given.manners === 'greedy') {
      send(cds)
      send(eds, ...Array.from({ length: 50_000 }, (_, n) => textField(3, `outbound|80||greedy-${n}.svc.cluster.local`)))
      return
    }
    listenersAsked = isAgain
    if (!isAgain) return send(cds)
    for (const type of types) {
      const named = namedTypes.has(type)
      const names = named ? [...of(type).keys()] : []
      if (named) wanted.set(type, new Set(names))
      if (named && names.length === 0) continue
      send(type, ...names.map((name) => textField(3, name)), ...versions(type))
    }
  }

  return {
    open,
    drop: () => {
      const old = session
      session = undefined
      stream = undefined
      old?.destroy()
    },
    inSync: () => stream !== undefined && of(cds).size > 0 && of(lds).size > 0 && isWarm() && hasAll(rds),
  }
}

function parts(resource: Buffer): { name: string; version: string; body: Uint8Array } {
  const found: { name: string; version: string; body: Uint8Array } = { name: '', version: '', body: Buffer.alloc(0) }
  for (const [number, bytes] of fieldsOf(resource)) {
    if (number === 1) found.version = bytes.toString()
    else if (number === 2) found.body = bytes
    else if (number === 3) found.name = bytes.toString()
  }
  return found
}
