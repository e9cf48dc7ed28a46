import type { Brought } from '#gateway/relay/brought.ts'
import { changeable, isShared, ownCopy, share } from '#gateway/relay/names.ts'
import type { XdsResource } from '#mesh/model/resource.ts'

export type Resources = ReadonlyMap<string, XdsResource>

/**
 * What a client holds under one name: a resource we sent, or only the version it reported when it came back. `was` is
 * the last resource it took before it refused one.
 */
export type Held = XdsResource | { readonly version: string; readonly was?: XdsResource }

/** The client waits for an answer about this name. */
export const unanswered: Held = { version: '' }
/** The client knows that nothing has this name. */
export const absent: Held = { version: '-' }

/** What the relay knows about a resource beyond its bytes. */
export type Judge = {
  /** True where enough clients refused this very version. */
  readonly withheld: (resource: XdsResource) => boolean
  /** True where this client's own identity is among those that refused it. */
  readonly refusedHere: (resource: XdsResource) => boolean
  /** The last version that this proxy accepted on an earlier stream, when it is still known. */
  readonly lastGood: (type: string, name: string) => XdsResource | undefined
}

/** No resource has this version: the client may hold anything under the name. */
const unsure = '?'

export type Outstanding = {
  readonly nonce: string
  readonly changes: readonly XdsResource[]
  /** What the client held before, by name: a NACK puts it back. */
  readonly before: ReadonlyMap<string, Held>
  /** Answers something the client was waiting for. */
  readonly awaited: boolean
  readonly sentAt: number
  readonly changedAt: number | undefined
}

/**
 * What one client holds of one type, and what it should hold.
 *
 * The client is assumed to hold `base` (the same map object for all streams that share a resource set), except for the
 * names in `own`. So a stream in step costs no memory per resource, and a change costs work only for what changed.
 */
export type Subscription = {
  readonly type: string
  wildcard: boolean
  /** Changed only by the functions below: streams share it. */
  names: ReadonlySet<string>
  base: Resources
  readonly own: Map<string, Held>
  /** Versions this client refused, by name; forgotten when the version changes. */
  readonly rejected: Map<string, readonly string[]>
  /** Groups of names that are offered one group at a time, to find the one that is refused. */
  suspects: readonly (readonly string[])[]
  /** NACKs since the client was last in step. */
  nacksInRow: number
  owesAnswer: boolean
  outstanding: Outstanding | undefined
  lastNonce: string | undefined
  /** When the oldest change arrived that is not sent yet. */
  changedAt: number | undefined
  lastAckAt: number | undefined
  nack: { readonly detail: string; readonly names: readonly string[]; readonly at: number } | undefined
}

export const subscription = (type: string, base: Resources): Subscription => ({
  type,
  wildcard: false,
  names: new Set(),
  base,
  own: new Map(),
  rejected: new Map(),
  suspects: [],
  nacksInRow: 0,
  owesAnswer: false,
  outstanding: undefined,
  lastNonce: undefined,
  changedAt: undefined,
  lastAckAt: undefined,
  nack: undefined,
})

export const wants = (s: Subscription, name: string): boolean => s.wildcard || s.names.has(name)

/** The client wants everything; what it does not want yet is owed to it, but for what it brought. */
export function subscribeAll(s: Subscription, brought?: Brought): void {
  if (s.wildcard) return
  s.wildcard = true
  if (brought && s.names.size === 0 && s.own.size === 0 && brought.isJust(s.base, s.base.size)) return
  const held = brought?.versions()
  for (const [name, resource] of s.base) if (!s.names.has(name)) owe(s, name, { resource, version: held?.get(name) })
  for (const [name, version] of held ?? []) if (!s.base.has(name)) s.own.set(ownCopy(name), heldBefore(version))
}

export function unsubscribeAll(s: Subscription): void {
  s.wildcard = false
  for (const name of s.own.keys()) if (!s.names.has(name)) s.own.delete(name)
}

/** The client starts again, with nothing. */
export function forget(s: Subscription): void {
  s.own.clear()
  s.names = new Set()
  s.wildcard = false
  s.suspects = []
  s.outstanding = undefined
}

/**
 * A name that is asked for again is answered again, but for what the client brought: it says that it has forgotten.
 * True where it was seen that these are all that it brought.
 */
export function subscribeNames(s: Subscription, names: readonly string[], brought?: Brought): boolean {
  if (names.length === 0) return false
  const comesBack = brought !== undefined && s.names.size === 0 && s.own.size === 0
  const before = comesBack ? returned.get(s.base) : undefined
  if (before && brought && isSame(before.order, names) && brought.isJust(s.base, names.length, before.names)) {
    s.names = before.names
    return true
  }
  const held = brought?.versions()
  const all = changeable(s.names)
  for (const name of names) {
    const resource = s.base.get(name)
    const own = resource?.name ?? ownCopy(name) // The resource's own string, so that streams share it.
    all.add(own)
    owe(s, own, { resource, version: held?.get(name) })
  }
  s.names = comesBack ? share(all) : all
  if (comesBack && s.own.size === 0 && all.size === names.length && isShared(s.names))
    returned.set(s.base, { names: s.names, order: [...all] })
  return false
}

/** The names of a client that came back and was in step, in the order in which it said them. */
type Returned = { readonly names: ReadonlySet<string>; readonly order: readonly string[] }

/**
 * The last one, by what is served. A thousand proxies that come back at once bring nearly all the same two hundred names:
 * to compare them costs a fraction of what it costs to look each up and put it into a set.
 */
const returned = new WeakMap<Resources, Returned>()

const isSame = (order: readonly string[], names: readonly string[]): boolean =>
  order.length === names.length && order.every((name, at) => names[at] === name)

type Known = { readonly resource: XdsResource | undefined; readonly version: string | undefined }

function owe(s: Subscription, name: string, { resource, version }: Known): void {
  if (version === undefined) s.own.set(name, unanswered)
  else if (resource?.version !== version) s.own.set(name, heldBefore(version))
  else if (s.own.size > 0) s.own.delete(name)
}

const heldBefore = (version: string): Held => ({ version: version === '' ? unsure : ownCopy(version) })

export function unsubscribeName(s: Subscription, name: string): void {
  if (s.names.has(name)) {
    const names = changeable(s.names)
    names.delete(name)
    s.names = names
  }
  if (!s.wildcard) s.own.delete(name)
}

/** What the client holds is sent to it again. */
export function oweAgain(s: Subscription, name: string): void {
  if (wants(s, name) && s.base.has(name) && !s.own.has(name)) s.own.set(name, unanswered)
}

/** The newest resources replace whatever was wanted before; nothing is queued. */
export function rebase(s: Subscription, next: Resources, changed: Iterable<string>, changedAt: number): void {
  let any = false
  for (const name of changed) {
    if (!wants(s, name)) continue
    any = true
    if (!s.own.has(name)) s.own.set(name, s.base.get(name) ?? absent)
  }
  s.base = next
  for (const [name, versions] of s.rejected)
    if (!versions.includes(next.get(name)?.version ?? '')) s.rejected.delete(name)
  if (any) s.changedAt ??= changedAt
}

/** Nothing deviates under `name`, or nobody waits to hear that nothing has it. */
export function settled(s: Subscription, name: string, held: Held): boolean {
  const resource = s.base.get(name)
  if (resource) return held.version === resource.version
  return held === absent || (held === unanswered && !s.names.has(name))
}

/** What the client should hold under `name`; undefined = leave what it has. */
export function goalOf(s: Subscription, name: string, held: Held, judge: Judge): Held | undefined {
  const resource = s.base.get(name)
  const waits = held === unanswered
  if (!resource) return absent
  const refused = s.rejected.get(name) ?? []
  if (!refused.includes(resource.version) && !judge.withheld(resource)) return resource
  // A refused cluster may be left half made: the one before it puts that right.
  const last = 'was' in held ? held.was : undefined
  const good = last ?? (waits || !isResource(held) ? judge.lastGood(s.type, name) : undefined)
  if (good && !refused.includes(good.version)) return good
  // The word of others holds back an update, never the only version there is: who holds nothing judges for itself, or
  // two liars could keep every restarted proxy without config.
  const holdsNothing = waits || held === absent
  if (holdsNothing && !refused.includes(resource.version) && !judge.refusedHere(resource)) return resource
  return waits && s.names.has(name) ? absent : undefined
}

/**
 * What is known about a name in a refused response: Envoy applies the good resources of a response that it refuses, so
 * the client may hold either version, and counts as holding neither.
 */
export function afterRefusal(s: Subscription, name: string, before: Held): Held {
  if (before === unanswered && s.names.has(name)) return before
  const was = lastOf(before)
  return { version: unsure, ...(was && { was }) }
}

/** The last resource that the client is known to have taken. */
export const lastOf = (held: Held): XdsResource | undefined => (isResource(held) ? held : held.was)

/** A resource, as opposed to a bare version. */
export const isResource = (held: Held): held is XdsResource => 'bytes' in held
