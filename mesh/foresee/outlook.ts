import { addressKey } from '#mesh/model/address.ts'
import type { ClusterConfig, ImportedService, Source } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
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
export type Sight = Summaries

/** Where the calls of one service would go. */
export type Outlook = {
  /** The part of all calls that each cluster would get, all ports alike, above 0; empty = nobody could answer. */
  readonly shares: ReadonlyMap<ClusterName, number>
  /** Ready pods in those clusters, at the port that has fewest; undefined where nothing was heard of one of them. */
  readonly ready: number | undefined
  /** True where some port is served by nobody. */
  readonly isCut: boolean
}

/**
 * Where the calls of a cluster to a service would go: as its relay decides it, from the compiled import, counts of ready
 * pods and known roads. A cluster that was not heard of counts as one that answers, because unknown is not empty; one
 * without a ready pod does not answer, whatever a last resort would still try.
 */
export function outlookOf(caller: Caller, imported: ImportedService, sight: Sight, lost: Lost = nothingLost): Outlook {
  const ports = imported.ports.map(({ port }) => portOutlook(caller, imported, port, { sight, lost }))
  const served = ports.filter((one) => one.shares.size > 0)
  const shares = new Map<ClusterName, number>()
  for (const one of served)
    for (const [cluster, share] of one.shares) shares.set(cluster, (shares.get(cluster) ?? 0) + share / served.length)
  const counts = served.map(({ ready }) => ready)
  const isKnown = counts.every((ready) => ready !== undefined)
  return {
    shares: new Map([...shares].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    ready: isKnown ? Math.min(...counts, counts.length === 0 ? 0 : Number.POSITIVE_INFINITY) : undefined,
    isCut: served.length < ports.length,
  }
}

type Facts = { readonly sight: Sight; readonly lost: Lost }

function portOutlook(
  caller: Caller,
  imported: ImportedService,
  port: number,
  facts: Facts,
): Pick<Outlook, 'shares' | 'ready'> {
  const road = roadOf(imported, port, { exported: true, cluster: caller.cluster })
  const offers = new Map(
    (road?.sources ?? []).flatMap((source) => {
      const offer = offerOf(caller, source, { imported, port, ...facts })
      return offer ? [[source.cluster, offer] as const] : []
    }),
  )
  const spillByReadiness = imported.policy?.spillByReadiness ?? false
  const tiers = road ? tiersOf(road, offers, { caller, spillByReadiness }) : []
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

type Offer = { readonly ready: number | undefined; readonly total: number; readonly isLost: boolean }

/** Undefined where there is no road to it. */
function offerOf(
  caller: Caller,
  source: Source,
  { imported, port, sight, lost }: Facts & { readonly imported: ImportedService; readonly port: number },
): Offer | undefined {
  const { cluster } = source
  const counts = sight.services
    .get(cluster)
    ?.get(imported.key)
    ?.counts.filter((one) => one.port === port)
  const sum = (part: 'ready' | 'total'): number => (counts ?? []).reduce((all, one) => all + one[part], 0)
  const counted = { ready: counts ? sum('ready') : undefined, total: sum('total') }
  const isLost = lost.clusters.has(cluster)
  if (cluster === caller.cluster) return { ...counted, isLost }
  if (source.network === caller.network && counts) return { ...counted, isLost }
  const gateways = sight.gateways.get(cluster)?.gateways ?? []
  if (gateways.length === 0) return undefined
  const gone = lost.gateways.get(cluster)
  // One that is down by its own cluster's word carries nothing on once the others are gone.
  const isCut = gone !== undefined && gateways.every((one) => gone.has(addressKey(one)) || one.state === 'down')
  return { ...counted, isLost: isLost || isCut }
}

function tiersOf(
  { imported, tiers }: Road,
  offers: ReadonlyMap<ClusterName, Offer>,
  { caller, spillByReadiness }: { readonly caller: Caller; readonly spillByReadiness: boolean },
): Candidate[][] {
  const named = new Set<ClusterName>()
  return tiers.map(({ members }) =>
    members.flatMap(({ cluster, weight }): Candidate[] => {
      const offer = offers.get(cluster)
      if (!offer || named.has(cluster)) return []
      named.add(cluster)
      const drain = cluster === caller.cluster ? undefined : imported.drains?.find((one) => one.cluster === cluster)
      const admission = { percent: drain?.percent ?? 100, ...(offer.isLost ? { dead: true as const } : {}) }
      return [candidateOf({ cluster, weight }, offer, { spillByReadiness, ...admission })]
    }),
  )
}

/** Remembers outlooks: callers that see the same import in the same way have the same one, and the same object. */
export type Outlooks = (caller: Caller, imported: ImportedService) => Outlook

export function newOutlooks(sight: Sight, lost: Lost = nothingLost): Outlooks {
  const known = new WeakMap<ImportedService, Map<string, Outlook>>()
  return (caller, imported) => {
    const bySight = known.get(imported) ?? new Map<string, Outlook>()
    known.set(imported, bySight)
    const isOwn = imported.sources.some(({ cluster }) => cluster === caller.cluster)
    const isNear = imported.sources.some(({ network }) => network === caller.network)
    const seen = `${isOwn ? caller.cluster : ''} ${isNear ? caller.network : ''}`
    const outlook = bySight.get(seen) ?? outlookOf(caller, imported, sight, lost)
    bySight.set(seen, outlook)
    return outlook
  }
}
