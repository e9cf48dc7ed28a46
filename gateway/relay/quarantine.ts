import type { Refusal } from '#gateway/relay/culprit.ts'
import { isResource } from '#gateway/relay/subscription.ts'
import type { XdsResource } from '#mesh/model/resource.ts'

/** A version of one resource that clients refused. */
export type Quarantined = {
  readonly type: string
  readonly name: string
  readonly version: string
  readonly owner: string | undefined
  readonly detail: string
  /** Who refused it: at most a few, as text. */
  readonly refusedBy: readonly string[]
  /** True when it is withheld from every stream, not only from those that refused it. */
  readonly everywhere: boolean
}

export type Quarantine = {
  readonly add: (refusal: Refusal, who: { readonly identity: string; readonly proxy: string }) => Quarantined
  /** Whether clients of this identity are not to be offered this version. */
  readonly withheld: (resource: XdsResource, identity: () => string) => boolean
  readonly refusedBy: (resource: XdsResource, identity: string) => boolean
  /** The last version that the proxy accepted before it refused one. */
  readonly lastGood: (proxy: string, type: string, name: string) => XdsResource | undefined
  /** Forgets versions that nobody is to be served any more. */
  readonly keepOnly: (stillServed: (type: string, name: string, version: string) => boolean) => void
  readonly list: () => readonly Quarantined[]
}

const entriesMax = 10_000
const witnessesMax = 8
/** So many different identities must refuse the same version before it is withheld from everybody. */
const witnessesNeeded = 2

/**
 * Which versions were refused, by whom, and what was good before.
 *
 * A refusal counts at once for the identity that made it: its clients keep their last good version, also over a
 * reconnect, and the object that the resource comes from is named until its version changes. For everybody else it
 * counts only when two different identities refused the same version: one client that refuses everything, broken or
 * hostile, changes nothing for others. Two pods of one workload would not do: they share one identity, and one bug.
 */
export function createQuarantine(): Quarantine {
  const refused = new Map<string, Quarantined>()
  const good = new Map<string, XdsResource>()
  const keyOf = (type: string, name: string, version: string) => JSON.stringify([type, name, version])

  return {
    add: ({ resource, detail, kept }, { identity, proxy }) => {
      const { type, name, version, owner } = resource
      const key = keyOf(type, name, version)
      const witnesses = new Set([...(refused.get(key)?.refusedBy ?? []), identity])
      const refusedBy = [...witnesses].slice(0, witnessesMax)
      const entry = { type, name, version, owner, detail, refusedBy, everywhere: refusedBy.length >= witnessesNeeded }
      setBounded(refused, key, entry)
      if (kept && isResource(kept)) setBounded(good, JSON.stringify([proxy, type, name]), kept)
      return entry
    },
    withheld: ({ type, name, version }, identity) => {
      if (refused.size === 0) return false
      const entry = refused.get(keyOf(type, name, version))
      return entry !== undefined && (entry.everywhere || entry.refusedBy.includes(identity()))
    },
    refusedBy: ({ type, name, version }, identity) =>
      refused.get(keyOf(type, name, version))?.refusedBy.includes(identity) ?? false,
    lastGood: (proxy, type, name) => good.get(JSON.stringify([proxy, type, name])),
    keepOnly: (stillServed) => {
      for (const [key, entry] of refused) if (!stillServed(entry.type, entry.name, entry.version)) refused.delete(key)
    },
    list: () => [...refused.values()],
  }
}

function setBounded<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  const oldest = map.keys().next()
  if (map.size > entriesMax && !oldest.done) map.delete(oldest.value)
}
