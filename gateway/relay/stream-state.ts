import { changedNames } from '#gateway/relay/changed-names.ts'
import { culpritsOf, type Refusal } from '#gateway/relay/culprit.ts'
import type { Held, Judge, Resources, Subscription } from '#gateway/relay/subscription.ts'
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
  readonly initialVersions: readonly (readonly [name: string, version: string])[]
}

/** One response to write. `resources` is all that is encoded; `changes` is what the client does not hold yet. */
export type Plan = {
  readonly subscription: Subscription
  readonly resources: readonly XdsResource[]
  readonly changes: readonly XdsResource[]
  readonly removed: readonly string[]
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
}

export const openStream = (mode: Mode, limits: StreamLimits, judge: Judge): StreamState => ({
  mode,
  limits,
  judge,
  subscriptions: new Map(),
  target: undefined,
  replaced: new Set(),
})

const nothing: Resources = new Map()
const wildcardTypes: ReadonlySet<string> = new Set([typeUrls.cluster, typeUrls.listener])
/** State of the world answers these as a whole: what is missing is deleted. */
const wholeTypes = wildcardTypes
const servedTypes: ReadonlySet<string> = new Set(Object.values(typeUrls))

export const isServed = (type: string): type is TypeUrl => servedTypes.has(type)

/** The newest resources for this client; `at` dates the change. */
export function onTarget(stream: StreamState, target: ResourceSet, at: number): void {
  if (target === stream.target) return
  stream.target = target
  for (const s of stream.subscriptions.values()) {
    const next = resourcesOf(target, s.type)
    if (next !== s.base) sub.rebase(s, next, changedNames(s.base, next), at)
  }
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
  const known = stream.subscriptions.get(request.type)
  if (stream.mode === 'sotw' && known && request.nonce !== '' && request.nonce !== known.lastNonce) return []
  const events = known?.outstanding?.nonce === request.nonce ? verdict(stream, known, request, now) : []
  const s = known ?? sub.subscription(request.type, resourcesOf(stream.target, request.type))
  if (!known) stream.subscriptions.set(request.type, s)
  if (stream.mode === 'delta') applyDelta(s, request, !known)
  else applyWhole(stream, s, request, !known)
  if (!known && s.type === typeUrls.endpoint) {
    for (const name of stream.replaced) oweAgain(s, name)
    stream.replaced.clear()
  }
  return namesOf(stream) > stream.limits.names ? 'too-many' : events
}

const namesOf = (stream: StreamState) => stream.subscriptions.values().reduce((sum, s) => sum + s.names.size, 0)

function applyDelta(s: Subscription, request: AdsRequest, first: boolean): void {
  const legacyWildcard = first && request.subscribe.length === 0 && wildcardTypes.has(s.type)
  if (legacyWildcard || request.subscribe.includes('*')) {
    sub.subscribeAll(s)
    if (first && request.initialVersions.length === 0) s.owesAnswer = true
  }
  for (const name of request.subscribe) if (name !== '*') sub.subscribeName(s, name)
  if (first && !s.wildcard) for (const [name] of request.initialVersions) sub.subscribeName(s, name)
  for (const name of request.unsubscribe) {
    if (name === '*') sub.unsubscribeAll(s)
    else sub.unsubscribeName(s, name)
  }
  if (first) for (const [name, version] of request.initialVersions) sub.alreadyHolds(s, name, version)
}

function applyWhole(stream: StreamState, s: Subscription, request: AdsRequest, first: boolean): void {
  const asked = new Set(request.subscribe)
  const restart = first || request.nonce === ''
  if (restart) sub.forget(s)
  if (asked.delete('*') || (asked.size === 0 && (restart || s.wildcard) && wildcardTypes.has(s.type))) {
    sub.subscribeAll(s)
  } else if (s.wildcard) sub.unsubscribeAll(s)
  for (const name of [...s.names]) if (!asked.has(name)) sub.unsubscribeName(s, name)
  for (const name of asked) if (restart || !s.names.has(name)) sub.subscribeName(s, name)
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
    s.suspects = s.suspects.slice(1)
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

/**
 * The next response that may leave, if any: make before break, one outstanding response per type.
 *
 * Clusters first; endpoints never wait (a client asks only for clusters it has). Listeners and routes wait until the
 * client has accepted new clusters and got their first endpoints, so no route points at a cluster that still warms.
 * Clusters and endpoints are removed last, when no listener or route is on its way. Listeners are added and removed in
 * one response: two of them may share an address, and Envoy takes removals first.
 *
 * Envoy answers clusters only when all of them are warm, and never when one is left half made (seen with 1.40: a ring
 * with its sizes the wrong way round). So an overdue answer no longer holds listeners and routes up, and newer clusters
 * are sent without it: the version that mends it must get through.
 */
export function nextResponse(stream: StreamState, now: number): Plan | undefined {
  if (!stream.target) return undefined
  const of = (type: string) => stream.subscriptions.get(type)
  const busy = (s: Subscription | undefined) => s?.outstanding !== undefined && !isOverdue(stream, s, now)
  for (const s of stream.subscriptions.values()) if (s.changedAt !== undefined && isOverdue(stream, s, now)) abandon(s)
  const [clusters, endpoints, listeners, routes] = [
    typeUrls.cluster,
    typeUrls.endpoint,
    typeUrls.listener,
    typeUrls.route,
  ].map(of)
  const early =
    planFor(stream, clusters, 'add') ??
    planFor(stream, endpoints, 'add') ??
    planFor(stream, of(typeUrls.secret), 'both')
  if (early) return early
  if (busy(clusters) || (busy(endpoints) && endpoints?.outstanding?.awaited)) return undefined
  const late = planFor(stream, listeners, 'both') ?? planFor(stream, routes, 'both')
  if (late) return late
  if (busy(listeners) || busy(routes)) return undefined
  return planFor(stream, endpoints, 'remove') ?? planFor(stream, clusters, 'remove')
}

const isOverdue = (stream: StreamState, s: Subscription, now: number) =>
  s.outstanding !== undefined && now - s.outstanding.sentAt >= stream.limits.overdueMs

/** Nothing is known any more of what was sent last. */
function abandon(s: Subscription): void {
  for (const [name, held] of s.outstanding?.before ?? [])
    if (sub.wants(s, name)) s.own.set(name, sub.afterRefusal(s, name, held))
  s.outstanding = undefined
}

function planFor(stream: StreamState, s: Subscription | undefined, what: 'add' | 'remove' | 'both'): Plan | undefined {
  if (!s || s.outstanding) return undefined
  const whole = stream.mode === 'sotw' && wholeTypes.has(s.type)
  const { changes, removed, told } = pendingOf(stream, s, whole)
  const now = { changes: what === 'remove' ? [] : changes, removed: what === 'add' ? told : [...told, ...removed] }
  const owed = s.owesAnswer && what !== 'remove'
  if (!owed && now.changes.length === 0 && now.removed.length === 0) return undefined
  return { subscription: s, ...now, resources: whole ? wholeOf(s, now.changes, now.removed) : now.changes }
}

/**
 * What differs between what the client holds and what it should hold, cut to one response. While a refused resource is
 * searched, only the first group of suspects that still differs.
 */
function pendingOf(stream: StreamState, s: Subscription, whole: boolean): Pending {
  for (;;) {
    const group = s.suspects[0]
    const pending = scan(stream, s, whole, group ?? [...s.own.keys()])
    if (!group || pending.changes.length + pending.removed.length + pending.told.length > 0) return pending
    s.suspects = s.suspects.slice(1)
  }
}

/** `told` are names that the client asked for and that nothing has. */
type Pending = { readonly changes: XdsResource[]; readonly removed: string[]; readonly told: string[] }

function scan(stream: StreamState, s: Subscription, whole: boolean, names: readonly string[]): Pending {
  const pending: Pending = { changes: [], removed: [], told: [] }
  const partial = stream.mode === 'sotw' && !whole
  let bytes = 0
  for (const name of names) {
    const held = s.own.get(name)
    if (!held) continue
    if (sub.settled(s, name, held)) {
      s.own.delete(name)
      continue
    }
    const goal = sub.goalOf(s, name, held, stream.judge)
    if (!goal || goal.version === held.version) continue
    if (sub.isResource(goal)) {
      if (!whole && bytes >= stream.limits.responseBytes) continue
      bytes += goal.bytes.length
      pending.changes.push(goal)
    } else if (partial)
      s.own.delete(name) // This form of the protocol cannot say it.
    else (held === sub.unanswered ? pending.told : pending.removed).push(name)
  }
  return pending
}

/** State of the world of a type that is answered as a whole: all that the client should hold after this response. */
function wholeOf(s: Subscription, changes: readonly XdsResource[], removed: readonly string[]): XdsResource[] {
  const fresh = new Map(changes.map((r) => [r.name, r]))
  const gone = new Set(removed)
  const kept = (name: string): XdsResource | undefined => {
    const held = s.own.get(name)
    if (!held) return s.base.get(name)
    return gone.has(name) ? undefined : sub.lastOf(held)
  }
  const names = s.wildcard ? new Set([...s.base.keys(), ...s.own.keys(), ...s.names]) : s.names
  return [...names].flatMap((name) => fresh.get(name) ?? kept(name) ?? [])
}

/** The plan is on its way as `nonce`: from here on the client is taken to hold it, until it refuses. */
export function onSent(stream: StreamState, plan: Plan, nonce: string, now: number): void {
  const s = plan.subscription
  const before = new Map<string, Held>()
  for (const resource of plan.changes) {
    before.set(resource.name, s.own.get(resource.name) ?? sub.absent)
    if (s.base.get(resource.name)?.version === resource.version) s.own.delete(resource.name)
    else s.own.set(resource.name, resource)
  }
  for (const name of plan.removed) {
    before.set(name, s.own.get(name) ?? sub.absent)
    if (s.base.has(name)) s.own.set(name, sub.absent)
    else s.own.delete(name)
  }
  const awaited = before.values().some((held) => held === sub.unanswered)
  s.outstanding = { nonce, changes: plan.changes, before, awaited, sentAt: now, changedAt: s.changedAt }
  s.lastNonce = nonce
  s.owesAnswer = false
  s.changedAt = undefined
  if (s.type === typeUrls.cluster) resendEndpoints(stream, plan.changes, before)
}

/**
 * A cluster that is replaced warms again and waits for endpoints, but its client, which still subscribes to that name,
 * does not ask again. Source: Envoy issues 13009 and 33607.
 */
function resendEndpoints(
  stream: StreamState,
  changes: readonly XdsResource[],
  before: ReadonlyMap<string, Held>,
): void {
  const s = stream.subscriptions.get(typeUrls.endpoint)
  for (const { name } of changes) {
    const held = before.get(name)
    if (!held || held === sub.unanswered || held === sub.absent) continue
    if (s) oweAgain(s, name)
    else stream.replaced.add(name)
  }
}

function oweAgain(s: Subscription, name: string): void {
  if (sub.wants(s, name) && s.base.has(name) && !s.own.has(name)) s.own.set(name, sub.unanswered)
}
