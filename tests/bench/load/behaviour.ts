import { typeUrls } from '#mesh/model/resource.ts'
import type { References } from '#tests/bench/load/references.ts'
import { type Asking, nodeField, requestOf } from '#tests/bench/load/requests.ts'
import { type Mode, type Resource, type Response, referencesOf } from '#tests/bench/load/response.ts'
import { framed } from '#tests/bench/load/wire.ts'

/** What a proxy says on its stream, and what it holds. */
export type Behaviour = {
  /** A stream is open: the first requests. */
  readonly begin: () => void
  readonly take: (response: Response) => void
  /** Asks without waiting for anything: clusters, listeners, and endpoints of these names. */
  readonly grab: (names: readonly string[]) => void
  /** Everything that listeners and clusters refer to is there, and the server has looked at what this stream asked. */
  readonly inSync: () => boolean
}

const { cluster: cds, endpoint: eds, listener: lds, route: rds, secret: sds } = typeUrls
const types = [cds, eds, lds, rds, sds]
/** Types of which a client names what it wants. */
const namedTypes: ReadonlySet<string> = new Set([eds, rds, sds])

/**
 * A name that nobody has. Where nothing changed a server has nothing to say to a client that returns, so the client asks
 * for this one last: the answer says that all it asked before was looked at.
 */
export const probeName = 'outbound|80||is-this-stream-in-sync'
const nobody: ReadonlySet<string> = new Set()

/**
 * A proxy as Envoy behaves on ADS: clusters first, endpoints asked for before clusters are acknowledged, listeners when
 * every cluster has its endpoints, routes before listeners are acknowledged; on a second stream everything at once with
 * the versions that it holds. In the state of the world it says its whole list of names each time, with the version and
 * nonce of the last response, and drops clusters and listeners that a response leaves out.
 */
export function behaviour(given: {
  readonly mode: Mode
  readonly node: Buffer
  readonly refuses: boolean
  readonly send: (message: Buffer) => void
}): Behaviour {
  const { mode, refuses } = given
  const held = new Map(types.map((type) => [type as string, new Map<string, Resource>()]))
  const of = (type: string) => held.get(type) ?? new Map<string, Resource>()
  /** The last version of a whole type, which outlives the stream, and the nonces of this one. */
  const versions = new Map<string, string>()
  let nonces = new Map<string, string>()
  let wanted = new Map<string, ReadonlySet<string>>()
  let listenersAsked = false
  let isFirst = true
  let isProbed = false

  const say = (asking: Omit<Asking, 'wanted'>) => {
    const parts = requestOf[mode]({ ...asking, wanted: wanted.get(asking.type) ?? nobody })
    given.send(isFirst ? framed(nodeField(mode, given.node), ...parts) : framed(...parts))
    isFirst = false
  }
  const lastOf = (type: string) => ({
    ...(nonces.has(type) && { nonce: nonces.get(type) ?? '' }),
    ...(versions.has(type) && { version: versions.get(type) ?? '' }),
  })
  /** Asks for names that are new and drops those that are gone. */
  const want = (type: string, names: Iterable<string>) => {
    const before = wanted.get(type) ?? nobody
    const now = new Set(names)
    const added = [...now].filter((name) => !before.has(name))
    const gone = [...before].filter((name) => !now.has(name))
    if (added.length + gone.length === 0) return
    wanted.set(type, now)
    for (const name of gone) of(type).delete(name)
    say({ type, ...(mode === 'delta' ? { added, gone } : lastOf(type)) })
  }
  const hasAll = (type: string) => (wanted.get(type) ?? nobody).values().every((name) => of(type).has(name))
  const isWarm = () => hasAll(eds) && hasAll(sds)
  const referredTo = (type: string, what: keyof References) =>
    [...of(type).values()].flatMap(({ version }) => referencesOf(version)[what])
  const hold = ({ type, resources, removed }: Response) => {
    const mine = of(type)
    if (mode === 'sotw' && !namedTypes.has(type)) mine.clear()
    for (const resource of resources) mine.set(resource.name, resource)
    for (const name of removed) {
      mine.delete(name)
      if (name === probeName) isProbed = true
    }
  }

  return {
    begin: () => {
      const isAgain = of(cds).size > 0
      wanted = new Map()
      nonces = new Map()
      isFirst = true
      listenersAsked = isAgain
      isProbed = !isAgain || mode === 'sotw'
      if (!isAgain) return say({ type: cds })
      for (const type of types) {
        const mine = of(type)
        const isNamed = namedTypes.has(type)
        if (isNamed && mine.size === 0) continue
        wanted.set(type, new Set(isNamed ? mine.keys() : []))
        const resources = [...mine.values()]
        const again = { held: resources, ...(isNamed && { asksFor: resources }) }
        say({ type, ...(mode === 'delta' ? again : lastOf(type)) })
        // Everything comes again.
        if (mode === 'sotw') mine.clear()
      }
      if (mode === 'delta') say({ type: eds, added: [probeName] })
    },
    take: (response) => {
      const { type, nonce, version } = response
      nonces.set(type, nonce)
      if (refuses) return say({ type, ...lastOf(type), refuses })
      versions.set(type, version)
      hold(response)
      if (!namedTypes.has(type)) {
        if (type === cds) want(eds, referredTo(cds, 'endpoints'))
        else want(rds, referredTo(lds, 'routes'))
        want(sds, [...referredTo(cds, 'secrets'), ...referredTo(lds, 'secrets')])
      }
      if (mode === 'delta') given.send(plainAnswer(type, nonce))
      else say({ type, ...lastOf(type) })
      if (!listenersAsked && nonces.has(cds) && isWarm()) {
        listenersAsked = true
        say({ type: lds })
      }
    },
    grab: (names) => {
      for (const type of [cds, lds]) say({ type })
      if (names.length === 0) return
      wanted.set(eds, new Set(names))
      say({ type: eds, added: names })
    },
    inSync: () => isProbed && of(cds).size > 0 && of(lds).size > 0 && isWarm() && hasAll(rds),
  }
}

/** The acknowledgement that many streams send for the same response is made once. */
function plainAnswer(type: string, nonce: string): Buffer {
  if (last.type === type && last.nonce === nonce) return last.frame
  last = { type, nonce, frame: framed(...requestOf.delta({ type, nonce, wanted: nobody })) }
  return last.frame
}
let last: { type: string; nonce: string; frame: Buffer } = { type: '', nonce: '', frame: Buffer.alloc(0) }
