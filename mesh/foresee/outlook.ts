import { addressKey } from '#mesh/model/address.ts'
import type { ClusterConfig, ImportedService, Source } from '#mesh/model/cluster-config.ts'
import type { DrainSubject } from '#mesh/model/drain.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import { type Candidate, candidateOf, spread } from '#mesh/policy/spread.ts'
import { type Road, roadOf } from '#mesh/translate/callable.ts'

/** What is taken away in thought. Gateways by `addressKey`. */
export type Lost = {
  readonly clusters: ReadonlySet<ClusterName>
  readonly gateways: ReadonlyMap<ClusterName, ReadonlySet<string>>
}

export const nothingLost: Lost = { clusters: new Set(), gateways: new Map() }

/** A cluster whose workloads call. */
export type Caller = Pick<ClusterConfig, 'cluster' | 'network' | 'region'>

/** What is known of pods and gateways: the summaries of all clusters, the callers' own among them. */
export type Sight = Summaries & {
  /** Clusters that are being drained, with the percent of their nominal share that they still get. */
  readonly drained?: ReadonlyMap<ClusterName, number>
  /** What is led out of traffic for good: it answers no caller of another cluster, not as a last resort either. */
  readonly closed?: readonly DrainSubject[]
}

/** Where the calls of one service would go. */
export type Outlook = {
  /** The part of all calls that each cluster would get, all ports alike, above 0; empty = nobody could answer. */
  readonly shares: ReadonlyMap<ClusterName, number>
  /** Ready pods in those clusters, at the port that has fewest; undefined where nothing was heard of one of them. */
  readonly ready: number | undefined
  /** Those of its ports that nobody would serve. */
  readonly cutPorts: readonly number[]
}

/** What is known and assumed about the clusters that offer it. */
export type OutlookFacts = {
  readonly sight: Sight
  readonly lost?: Lost
  /** The most that a cluster may be given of these callers' calls, 0..1. */
  readonly caps?: ReadonlyMap<ClusterName, number>
  /** A cluster that was not heard of, or only of gateways that are down, counts as one that answers, unless it is `lost`. */
  readonly unheard?: 'answers' | 'lost'
}

/**
 * Where the calls of a cluster to a service would go: as its relay decides it, from the compiled import, counts of ready
 * pods and known roads. A cluster that was not heard of counts as one that answers, because unknown is not empty (for who
 * has to be sure of an answer: `unheard`); one without a ready pod does not answer, whatever a last resort would still try.
 */
export function outlookOf(caller: Caller, imported: ImportedService, facts: OutlookFacts): Outlook {
  const ports = imported.ports.map(({ port }) => ({ port, ...portOutlook(caller, imported, port, facts) }))
  const served = ports.filter((one) => one.shares.size > 0)
  const shares = new Map<ClusterName, number>()
  for (const one of served)
    for (const [cluster, share] of one.shares) shares.set(cluster, (shares.get(cluster) ?? 0) + share / served.length)
  const counts = served.map(({ ready }) => ready)
  const isKnown = counts.every((ready) => ready !== undefined)
  return {
    shares: new Map([...shares].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    ready: isKnown ? Math.min(...counts, counts.length === 0 ? 0 : Number.POSITIVE_INFINITY) : undefined,
    cutPorts: ports.filter((one) => one.shares.size === 0).map(({ port }) => port),
  }
}

function portOutlook(
  caller: Caller,
  imported: ImportedService,
  port: number,
  facts: OutlookFacts,
): Pick<Outlook, 'shares' | 'ready'> {
  const road = roadOf(imported, port, { exported: true, cluster: caller.cluster })
  const offers = new Map(
    (road?.sources ?? []).flatMap((source) => {
      const offer = offerOf(caller, source, { imported, port, ...facts })
      return offer ? [[source.cluster, offer] as const] : []
    }),
  )
  const spillByReadiness = imported.policy?.spillByReadiness ?? false
  const tiers = road ? tiersOf(road, offers, { caller, spillByReadiness, caps: facts.caps }) : []
  const isAnswering = tiers.some((tier) => tier.some(({ dead, ready }) => !dead && ready !== 0))
  if (!isAnswering) return { shares: new Map(), ready: 0 }
  const { priorities } = spread(tiers, { factor: imported.settings.overprovisioningFactor, spillByReadiness })
  const first = (priorities[0] ?? []).filter(({ share }) => share > 0)
  const counts = first.map(({ cluster }) => offers.get(cluster)?.ready)
  const isKnown = counts.every((ready) => ready !== undefined)
  return {
    shares: new Map(first.map(({ cluster, share }) => [cluster, share])),
    ready: isKnown ? counts.reduce((sum, ready) => sum + ready, 0) : undefined,
  }
}

type Offer = {
  readonly ready: number | undefined
  readonly total: number
  readonly percent: number
  readonly isLost: boolean
}

/** Undefined where there is no road to it. */
function offerOf(
  caller: Caller,
  source: Source,
  { imported, port, ...facts }: OutlookFacts & { readonly imported: ImportedService; readonly port: number },
): Offer | undefined {
  const { sight, lost = nothingLost, unheard = 'answers' } = facts
  const { cluster } = source
  const counts = sight.services
    .get(cluster)
    ?.get(imported.key)
    ?.counts.filter((one) => one.port === port)
  const sum = (part: 'ready' | 'total'): number => (counts ?? []).reduce((all, one) => all + one[part], 0)
  const counted = {
    ready: counts ? sum('ready') : undefined,
    total: sum('total'),
    percent: sight.drained?.get(cluster) ?? 100,
  }
  const isLost = lost.clusters.has(cluster) || (unheard === 'lost' && !counts)
  if (cluster === caller.cluster) return { ...counted, isLost }
  const isClosed = sight.closed?.some((one) => leadsOut(one, cluster, imported.key)) ?? false
  if (source.network === caller.network && counts) return { ...counted, isLost: isLost || isClosed }
  const gateways = sight.gateways.get(cluster)?.gateways ?? []
  if (gateways.length === 0) return undefined
  return { ...counted, isLost: isLost || isClosed || isCut(cluster, gateways, { sight, lost, unheard }) }
}

/** Whether a drain keeps callers of other clusters from a service there. */
export const leadsOut = (subject: DrainSubject, cluster: ClusterName, key: ServiceKey): boolean =>
  subject.cluster === cluster && (subject.kind === 'cluster' || (subject.kind === 'service' && subject.service === key))

/** One that is down by its own cluster's word carries nothing on once the others are gone. */
function isCut(
  cluster: ClusterName,
  gateways: readonly Gateway[],
  { sight, lost = nothingLost, unheard }: OutlookFacts,
): boolean {
  const gone = lost.gateways.get(cluster)
  const closed = sight.closed?.flatMap((one) =>
    one.kind === 'gateway' && one.cluster === cluster ? [one.gateway] : [],
  )
  const isGone = (one: Gateway): boolean => gone?.has(addressKey(one)) || closed?.includes(addressKey(one)) || false
  const isOut = (one: Gateway): boolean => isGone(one) || one.state === 'down'
  return gateways.every(isOut) && (unheard === 'lost' || gateways.some(isGone))
}

function tiersOf(
  { imported, tiers }: Road,
  offers: ReadonlyMap<ClusterName, Offer>,
  facts: {
    readonly caller: Caller
    readonly spillByReadiness: boolean
    readonly caps: OutlookFacts['caps']
  },
): Candidate[][] {
  const { caller, spillByReadiness, caps } = facts
  const named = new Set<ClusterName>()
  return tiers.map(({ members }) =>
    members.flatMap(({ cluster, weight }): Candidate[] => {
      const offer = offers.get(cluster)
      if (!offer || named.has(cluster)) return []
      named.add(cluster)
      // A drain concerns others: own callers keep the own pods.
      const isOwn = cluster === caller.cluster
      const drain = isOwn ? undefined : imported.drains?.find((one) => one.cluster === cluster)
      const percent = isOwn ? 100 : Math.min(offer.percent, drain?.percent ?? 100)
      const cap = caps?.get(cluster)
      const admission = {
        percent,
        ...(offer.isLost ? { dead: true as const } : {}),
        ...(cap === undefined ? {} : { cap }),
      }
      return [candidateOf({ cluster, weight }, offer, { spillByReadiness, ...admission })]
    }),
  )
}
