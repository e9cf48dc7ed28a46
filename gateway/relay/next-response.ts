import type { StreamState } from '#gateway/relay/stream-state.ts'
import type { Held, Subscription } from '#gateway/relay/subscription.ts'
import * as sub from '#gateway/relay/subscription.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'

/** One response to write. `resources` is all that is encoded; `changes` is what the client does not hold yet. */
export type Plan = {
  readonly subscription: Subscription
  readonly resources: readonly XdsResource[]
  readonly changes: readonly XdsResource[]
  readonly removed: readonly string[]
}

/** State of the world answers these as a whole: what is missing is deleted. */
const wholeTypes: ReadonlySet<string> = new Set([typeUrls.cluster, typeUrls.listener])

/**
 * The next response that may leave, if any: make before break, one outstanding response per type.
 *
 * Clusters first; endpoints never wait (a client asks only for clusters it has). Listeners and routes wait until the
 * client has accepted new clusters and got their first endpoints, so no route points at a cluster that still warms.
 * Clusters and endpoints are removed last, when no listener or route is on its way. Listeners are added and removed in
 * one response: two of them may share an address, and Envoy takes removals first.
 *
 * A secret that a client waits for never waits (its cluster or listener warms until it is there). A changed one waits for
 * changed routes: both say whom a port admits, and whoever passes the handshake before the routes know it is told 403,
 * which nobody retries. On a withdrawal the order is right as well: first requests end, then handshakes.
 *
 * Envoy answers clusters only when all of them are warm, and never when one is left half made (seen with 1.40: a ring
 * with its sizes the wrong way round). So an overdue answer no longer holds listeners and routes up, and newer clusters
 * are sent without it: the version that mends it must get through.
 */
export function nextResponse(stream: StreamState, now: number): Plan | undefined {
  if (!stream.target) return undefined
  const only = stream.onlyChanged
  stream.onlyChanged = undefined
  // By far the most frequent case of a busy relay: nothing of any other type can be due or in the way.
  if (only) return alone(stream, only)
  if (!look(stream)) return undefined
  const of = (type: string) => stream.subscriptions.get(type)
  const busy = (s: Subscription | undefined) => s?.outstanding !== undefined && !isOverdue(stream, s, now)
  for (const s of stream.subscriptions.values()) if (s.changedAt !== undefined && isOverdue(stream, s, now)) abandon(s)
  const [clusters, endpoints, listeners, routes] = [
    typeUrls.cluster,
    typeUrls.endpoint,
    typeUrls.listener,
    typeUrls.route,
  ].map(of)
  const secrets = of(typeUrls.secret)
  const isAwaited = secrets?.own.values().some((held) => held === sub.unanswered)
  const early =
    planFor(stream, clusters, 'add') ??
    planFor(stream, endpoints, 'add') ??
    (isAwaited ? planFor(stream, secrets, 'both') : undefined)
  if (early) return early
  const isWarming = busy(clusters) || (busy(endpoints) && endpoints?.outstanding?.awaited)
  const newRoutes = planFor(stream, routes, 'both')
  const late = isWarming ? undefined : (planFor(stream, listeners, 'both') ?? newRoutes)
  if (late) return late
  const changed = newRoutes || busy(routes) ? undefined : planFor(stream, secrets, 'both')
  if (changed) return changed
  if (isWarming || busy(listeners) || busy(routes)) return undefined
  return planFor(stream, endpoints, 'remove') ?? planFor(stream, clusters, 'remove')
}

/** The next response where nothing of any other type is due or on its way. */
const alone = (stream: StreamState, s: Subscription): Plan | undefined =>
  isAddedFirst(s.type) ? (planFor(stream, s, 'add') ?? planFor(stream, s, 'remove')) : planFor(stream, s, 'both')

const isAddedFirst = (type: string): boolean => type === typeUrls.cluster || type === typeUrls.endpoint

/** Whether something may have to be said. Where nothing is, and nothing awaited, the stream is at rest. */
function look(stream: StreamState): boolean {
  let isAwaiting = false
  for (const s of stream.subscriptions.values()) {
    if (mayDiffer(s)) return true
    isAwaiting ||= s.outstanding !== undefined
  }
  stream.atRest = !isAwaiting
  return false
}

const mayDiffer = (s: Subscription): boolean => s.owesAnswer || s.own.size > 0

const isOverdue = (stream: StreamState, s: Subscription, now: number) =>
  s.outstanding !== undefined && now - s.outstanding.sentAt >= stream.limits.overdueMs

/** Nothing is known any more of what was sent last. */
function abandon(s: Subscription): void {
  for (const [name, held] of s.outstanding?.before ?? [])
    if (sub.wants(s, name)) s.own.set(name, sub.afterRefusal(s, name, held))
  s.outstanding = undefined
}

function planFor(stream: StreamState, s: Subscription | undefined, what: 'add' | 'remove' | 'both'): Plan | undefined {
  if (!s || s.outstanding || !mayDiffer(s)) return undefined
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
    const pending = scan(stream, s, whole, group ?? s.own.keys())
    if (!group || pending.changes.length + pending.removed.length + pending.told.length > 0) return pending
    s.suspects = s.suspects.slice(1)
  }
}

/** `told` are names that the client asked for and that nothing has. */
type Pending = { readonly changes: XdsResource[]; readonly removed: string[]; readonly told: string[] }

function scan(stream: StreamState, s: Subscription, whole: boolean, names: Iterable<string>): Pending {
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
    if (s) sub.oweAgain(s, name)
    else stream.replaced.add(name)
  }
}
