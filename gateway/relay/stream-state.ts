import type { Brought } from '#gateway/relay/brought.ts'
import { changedNames } from '#gateway/relay/changed-names.ts'
import { culpritsOf, type Refusal } from '#gateway/relay/culprit.ts'
import { share } from '#gateway/relay/names.ts'
import type { Judge, Resources, Subscription } from '#gateway/relay/subscription.ts'
import * as sub from '#gateway/relay/subscription.ts'
import { type ResourceSet, type TypeUrl, typeUrls, type XdsResource } from '#mesh/model/resource.ts'

export type Mode = 'delta' | 'sotw'

/** A DiscoveryRequest or DeltaDiscoveryRequest without what does not concern the stream's state. */
export type AdsRequest = {
  readonly type: string
  readonly nonce: string
  readonly error?: string
  /** Delta: names added and removed. State of the world: `subscribe` is the whole list. */
  readonly subscribe: readonly string[]
  readonly unsubscribe: readonly string[]
  /** Delta: versions that the client holds from an earlier stream, by name; an empty one is one that we never gave. */
  readonly brought: Brought
}

export type StreamEvent =
  | { readonly kind: 'ack'; readonly type: string; readonly changes: readonly XdsResource[]; readonly ms?: number }
  | { readonly kind: 'nack'; readonly type: string; readonly names: readonly string[]; readonly detail: string }
  | ({ readonly kind: 'rejected' } & Refusal)

export type StreamLimits = {
  /** Names that one stream may subscribe to, over all types. */
  readonly names: number
  /** A delta response is cut after the resource that passes this. */
  readonly responseBytes: number
  /** NACKs in a row after which all that is refused is set aside unsearched. */
  readonly nacksInRow: number
  /** An answer that takes longer holds nothing up any more. */
  readonly overdueMs: number
}

/** One ADS stream: what its client subscribes to, holds and should hold. Changed in place by the functions below. */
export type StreamState = {
  readonly mode: Mode
  readonly limits: StreamLimits
  readonly judge: Judge
  readonly subscriptions: Map<string, Subscription>
  /** Undefined = not known yet: nothing is answered, because unknown is not empty. */
  target: ResourceSet | undefined
  /** Clusters that were replaced before the client said anything about endpoints. */
  readonly replaced: Set<string>
  /** True where nothing is due and no answer awaited, as far as was looked since the last request. */
  atRest: boolean
  /** Set when a stream at rest got a new target that differs for this subscription alone. */
  onlyChanged: Subscription | undefined
}

export const openStream = (mode: Mode, limits: StreamLimits, judge: Judge): StreamState => ({
  mode,
  limits,
  judge,
  subscriptions: new Map(),
  target: undefined,
  replaced: new Set(),
  atRest: false,
  onlyChanged: undefined,
})

const nothing: Resources = new Map()
/** A client that names nothing wants all of these. */
const wildcardTypes: ReadonlySet<string> = new Set([typeUrls.cluster, typeUrls.listener])
const served: readonly TypeUrl[] = Object.values(typeUrls)
const servedTypes: ReadonlySet<string> = new Set(served)

export const isServed = (type: string): type is TypeUrl => servedTypes.has(type)

/** The newest resources for this client; `at` dates the change. */
export function onTarget(stream: StreamState, target: ResourceSet, at: number): void {
  const before = stream.target
  if (target === before) return
  stream.target = target
  let changed = 0
  for (const type of served) {
    if (before && before[type] === target[type]) continue
    const s = stream.subscriptions.get(type)
    const next = target[type] ?? nothing
    if (!s || next === s.base) continue
    sub.rebase(s, next, changedNames(s.base, next), at)
    changed += 1
    stream.onlyChanged = changed === 1 && stream.atRest ? s : undefined
  }
  if (changed > 0) stream.atRest = false
}

const resourcesOf = (target: ResourceSet | undefined, type: string): Resources =>
  (isServed(type) ? target?.[type] : undefined) ?? nothing

/**
 * Takes one request of a served type. Gives back what it acknowledged or refused, or `too-many` when the client
 * subscribes to more names than a stream may: then the stream is to be closed.
 *
 * Rules: xDS protocol ("ACK and NACK", "Wildcard resource requests", incremental xDS); where clients are laxer than the
 * protocol, what istiod's clients were seen to send.
 */
export function onRequest(stream: StreamState, request: AdsRequest, now: number): readonly StreamEvent[] | 'too-many' {
  if (request.subscribe.length > stream.limits.names) return 'too-many'
  stream.atRest = false
  stream.onlyChanged = undefined
  const known = stream.subscriptions.get(request.type)
  if (stream.mode === 'sotw' && known && request.nonce !== '' && request.nonce !== known.lastNonce) return []
  const events = known?.outstanding?.nonce === request.nonce ? verdict(stream, known, request, now) : []
  const s = known ?? sub.subscription(request.type, resourcesOf(stream.target, request.type))
  if (!known) stream.subscriptions.set(request.type, s)
  if (stream.mode === 'delta') applyDelta(s, request, !known)
  else applyWhole(stream, s, request, !known)
  if (!known && s.type === typeUrls.endpoint) {
    for (const name of stream.replaced) sub.oweAgain(s, name)
    stream.replaced.clear()
  }
  const asked = request.subscribe.length + request.brought.size
  if (asked * askedPart >= s.names.size || (asked > 0 && s.names.size <= copiedMax)) s.names = share(s.names)
  return asked > 0 && namesOf(stream) > stream.limits.names ? 'too-many' : events
}

/**
 * A set that is shared is copied at its next change. Larger ones than this are shared only by a request that names a good
 * part of them: a client that asks for one more name each time would have the whole copied each time.
 */
const copiedMax = 1024
const askedPart = 8

const namesOf = (stream: StreamState) => stream.subscriptions.values().reduce((sum, s) => sum + s.names.size, 0)

function applyDelta(s: Subscription, request: AdsRequest, first: boolean): void {
  const brought = first && request.brought.size > 0 ? request.brought : undefined
  const legacyWildcard = first && request.subscribe.length === 0 && wildcardTypes.has(s.type)
  if (legacyWildcard || request.subscribe.includes('*')) {
    sub.subscribeAll(s, brought)
    if (first && !brought) s.owesAnswer = true
  }
  const names = request.subscribe.includes('*') ? request.subscribe.filter((name) => name !== '*') : request.subscribe
  const isAll = sub.subscribeNames(s, names, brought)
  if (brought && !s.wildcard && !isAll) {
    const unsaid = brought
      .versions()
      .keys()
      .filter((name) => !s.names.has(name))
    sub.subscribeNames(s, [...unsaid], brought)
  }
  for (const name of request.unsubscribe) {
    if (name === '*') sub.unsubscribeAll(s)
    else sub.unsubscribeName(s, name)
  }
}

function applyWhole(stream: StreamState, s: Subscription, request: AdsRequest, first: boolean): void {
  const asked = new Set(request.subscribe)
  const restart = first || request.nonce === ''
  if (restart) sub.forget(s)
  if (asked.delete('*') || (asked.size === 0 && (restart || s.wildcard) && wildcardTypes.has(s.type))) {
    sub.subscribeAll(s)
  } else if (s.wildcard) sub.unsubscribeAll(s)
  for (const name of [...s.names]) if (!asked.has(name)) sub.unsubscribeName(s, name)
  const fresh = restart ? [...asked] : [...asked].filter((name) => !s.names.has(name))
  if (fresh.length > 0) sub.subscribeNames(s, fresh)
  if (!restart) return
  if (s.wildcard) {
    s.owesAnswer = true
    for (const name of s.base.keys()) s.own.set(name, sub.unanswered)
  }
  if (asked.size === 0 && !s.wildcard) stream.subscriptions.delete(s.type)
}

function verdict(stream: StreamState, s: Subscription, request: AdsRequest, now: number): StreamEvent[] {
  const sent = s.outstanding
  if (!sent) return []
  s.outstanding = undefined
  if (request.error === undefined) {
    s.lastAckAt = now
    if (s.suspects.length > 0) s.suspects = s.suspects.slice(1)
    if (s.suspects.length === 0) s.nacksInRow = 0
    const ms = sent.changedAt === undefined ? {} : { ms: now - sent.changedAt }
    return [{ kind: 'ack', type: s.type, changes: sent.changes, ...ms }]
  }
  s.nacksInRow += 1
  for (const [name, held] of sent.before) if (sub.wants(s, name)) s.own.set(name, sub.afterRefusal(s, name, held))
  // A client that refuses a removal holds nothing that is wrong: it is not asked twice.
  if (sent.changes.length === 0) for (const name of sent.before.keys()) if (!s.base.has(name)) s.own.delete(name)
  const detail = request.error.slice(0, 1024)
  const found = culpritsOf(request.error, sent.changes, s.nacksInRow > stream.limits.nacksInRow)
  for (const { name, version } of found.culprits)
    s.rejected.set(name, [...(s.rejected.get(name) ?? []), version].slice(-4))
  s.suspects = found.culprits.length > 0 ? s.suspects : [...found.halves, ...s.suspects.slice(1)]
  s.nack = { detail, names: sent.changes.slice(0, 16).map((r) => r.name), at: now }
  return [
    { kind: 'nack', type: s.type, names: s.nack.names, detail },
    ...found.culprits.map((resource) => ({
      kind: 'rejected' as const,
      resource,
      detail,
      kept: sent.before.get(resource.name),
    })),
  ]
}
