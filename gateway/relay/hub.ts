import { openAdmission } from '#gateway/relay/admission.ts'
import { createFramer, type Framer } from '#gateway/relay/frame.ts'
import type { AdsLimits } from '#gateway/relay/limits.ts'
import { type ConnectedProxy, type Identity, identityText, keyOf } from '#gateway/relay/node.ts'
import type { Peer } from '#gateway/relay/peer.ts'
import { createQuarantine, type Quarantine, type Quarantined } from '#gateway/relay/quarantine.ts'
import type { AdsStream } from '#gateway/relay/stream.ts'
import type { StreamEvent } from '#gateway/relay/stream-state.ts'
import type { Judge } from '#gateway/relay/subscription.ts'
import { createWriteBudget, type WriteBudget } from '#gateway/relay/write-budget.ts'
import { Problem, type ProblemKind, problemKinds } from '#mesh/model/problem.ts'
import { type ResourceSet, typeUrls } from '#mesh/model/resource.ts'

export type Log = {
  info(facts: object, text: string): void
  warn(facts: object, text: string): void
}

/** One refused response: what the client said, and what was set aside because of it (nothing while it is searched). */
export type NackReport = {
  readonly proxy: ConnectedProxy
  readonly type: string
  readonly names: readonly string[]
  readonly detail: string
  readonly quarantined: readonly Quarantined[]
}

/** A change that a proxy acknowledged: `ms` after `changed()` was called. */
export type Acknowledged = { readonly proxy: ConnectedProxy; readonly type: string; readonly ms: number }

export type HubOptions = {
  /**
   * Opened once for each stream; gives, whenever it is asked, all that this proxy is to be served. Undefined = not known
   * yet, which is not the same as nothing.
   */
  readonly resourcesFor: (proxy: ConnectedProxy) => () => ResourceSet | undefined
  readonly authenticate: (peer: Peer) => Promise<Identity>
  readonly log: Log
  readonly now?: () => number
  readonly onNack?: (report: NackReport) => void
  readonly onAcknowledged?: (sample: Acknowledged) => void
}

/** Counters since the start, by full type URL where there are several. */
export type AdsCounts = {
  readonly pushes: Readonly<Record<string, number>>
  readonly resources: Readonly<Record<string, number>>
  readonly bytes: Readonly<Record<string, number>>
  readonly acks: number
  readonly nacks: number
  readonly refusedStreams: Readonly<Record<RefusalReason, number>>
}

/** Why a stream was refused: kinds of problems, and a node that is not whom its client proved to be. */
export type RefusalReason = Exclude<ProblemKind, 'forbidden'> | 'node-mismatch'

/** What all streams of a relay share. */
export type Hub = {
  readonly limits: AdsLimits
  readonly log: Log
  readonly now: () => number
  readonly streams: Set<AdsStream>
  readonly framer: Framer
  readonly quarantine: Quarantine
  readonly budget: WriteBudget
  readonly authenticate: HubOptions['authenticate']
  readonly resourcesFor: HubOptions['resourcesFor']
  readonly judgeFor: (proxy: ConnectedProxy) => Judge
  /** Throws `too-many` when this proxy opens streams faster than it may, or its identity has all that it may have. */
  readonly admit: (proxy: ConnectedProxy) => void
  /** The stream of a proxy that was admitted is at its end. */
  readonly left: (proxy: ConnectedProxy) => void
  readonly onEvent: (event: StreamEvent, proxy: ConnectedProxy) => void
  readonly onSent: (type: string, resources: number, bytes: number) => void
  /** Bytes of all responses so far. */
  readonly sentBytes: () => number
  readonly onUnknownType: (type: string, proxy: ConnectedProxy) => void
  readonly problemOf: (error: unknown, peer: Peer) => Problem
  readonly drop: (peer: string) => void
  readonly counts: () => AdsCounts
  readonly tick: (now: number) => void
}

export function createHub(
  options: HubOptions,
  given: { readonly limits: AdsLimits; readonly boot: string; readonly drop: Hub['drop'] },
): Hub {
  const { log } = options
  const now = options.now ?? Date.now
  const quarantine = createQuarantine()
  const streams = new Set<AdsStream>()
  const admit = openAdmission(given.limits, now)
  const unknownTypes = new Set<string>()
  let sentBytes = 0
  const zero = () => Object.fromEntries(Object.values(typeUrls).map((type) => [type, 0]))
  const counts = { pushes: zero(), resources: zero(), bytes: zero(), acks: 0, nacks: 0, refusedStreams: noRefusals() }

  const resourcesFor: Hub['resourcesFor'] = (proxy) => {
    let newest: (() => ResourceSet | undefined) | undefined
    return () => {
      try {
        newest ??= options.resourcesFor(proxy)
        return newest()
      } catch (error) {
        log.warn({ proxy: proxy.id, err: error }, 'no resources for a proxy: it keeps what it has')
        return undefined
      }
    }
  }

  const onEvent: Hub['onEvent'] = (event, proxy) => {
    if (event.kind === 'ack') {
      counts.acks += 1
      if (event.ms !== undefined) options.onAcknowledged?.({ proxy, type: event.type, ms: event.ms })
      return
    }
    if (event.kind === 'rejected') {
      const entry = quarantine.add(event, { identity: identityText(proxy.identity), proxy: keyOf(proxy) })
      const { type, name, version, owner, everywhere } = entry
      log.warn(
        { proxy: proxy.id, type, name, version, owner, everywhere, detail: event.detail },
        'set a resource aside',
      )
      options.onNack?.({ proxy, type, names: [name], detail: event.detail, quarantined: [entry] })
      return
    }
    counts.nacks += 1
    options.onNack?.({ proxy, type: event.type, names: event.names, detail: event.detail, quarantined: [] })
  }

  return {
    limits: given.limits,
    log,
    now,
    streams,
    framer: createFramer(given.boot),
    quarantine,
    budget: createWriteBudget(given.limits.bytesInFlightPerIdentity),
    authenticate: async (peer) => options.authenticate(peer),
    resourcesFor,
    judgeFor: (proxy) => ({
      withheld: (resource) => quarantine.withheld(resource, () => identityText(proxy.identity)),
      refusedHere: (resource) => quarantine.refusedBy(resource, identityText(proxy.identity)),
      lastGood: (type, name) => quarantine.lastGood(keyOf(proxy), type, name),
    }),
    admit: admit.take,
    left: admit.left,
    onEvent,
    sentBytes: () => sentBytes,
    onSent: (type, resources, bytes) => {
      sentBytes += bytes
      counts.pushes[type] = (counts.pushes[type] ?? 0) + 1
      counts.resources[type] = (counts.resources[type] ?? 0) + resources
      counts.bytes[type] = (counts.bytes[type] ?? 0) + bytes
    },
    onUnknownType: (type, proxy) => {
      if (unknownTypes.has(type) || unknownTypes.size > 100) return
      unknownTypes.add(type)
      log.info({ proxy: proxy.id, type: type.slice(0, 256) }, 'a type that this relay does not serve: not answered')
    },
    problemOf: (error, peer) => {
      const problem = error instanceof Problem ? error : new Problem('internal', 'the relay failed', { cause: error })
      counts.refusedStreams[reasonOf(problem.kind)] += 1
      log.warn({ address: peer.address, uris: peer.certificateUris, err: error }, 'refused a stream')
      return problem
    },
    drop: given.drop,
    counts: () => counts,
    tick: (at) => {
      admit.forgetIdle()
      for (const stream of [...streams]) stream.tick(at)
    },
  }
}

/** Nothing but its node is forbidden to a client that is known (`node.ts`). */
const reasonOf = (kind: ProblemKind): RefusalReason => (kind === 'forbidden' ? 'node-mismatch' : kind)

const noRefusals = () =>
  Object.fromEntries(Object.keys(problemKinds).map((kind) => [reasonOf(kind as ProblemKind), 0])) as Record<
    RefusalReason,
    number
  >
