import type { ClusterName } from '#mesh/model/id.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import { peakKey } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { type Admission, type Candidate, candidateOf, type Placed, type Spread, spread } from '#mesh/policy/spread.ts'
import type { Road } from '#mesh/translate/callable.ts'
import { type Host, hostScale, type Parted, partedOf, podsBehind } from '#mesh/translate/hosts.ts'
import { type Offer, offersOf } from '#mesh/translate/offers.ts'

/** One source cluster inside a tier. */
export type Share = {
  readonly cluster: string
  readonly region: string
  readonly zone: string
  /** At least 1: Envoy refuses a whole update for one weight of 0. */
  readonly weight: number
  readonly hosts: readonly Host[]
  readonly behind: Offer['behind']['kind']
}

/**
 * Where the calls of one federated service port go, as Envoy's priorities, none empty: per source cluster a share and its
 * hosts. Which cluster stands where and with how much, `spread` says.
 *
 * - The own cluster is its pods; a cluster of the same network its pods too, as many of them as its summary names (how
 *   many are ready, its counts say); any other its gateways. A cluster without a road (no gateway known) is left out.
 * - Nothing ready: left out. Nothing *heard*: dialled through its gateways as if one pod stood there, because unknown is
 *   not empty. Nothing ready anywhere: the gateways stay, in their order, as the last resort.
 * - What is no IP address is left out: Envoy would refuse the whole update, and another cluster's word must not do that.
 * - A host weighs the pods behind it: with L the least common multiple of the gateway counts a pod weighs L and each of
 *   k gateways ready × L / k, so the health a tier loses is counted in pods.
 * - Who takes nothing comes last, unhealthy: clusters that are dead or drained, and gateways that are down while others of
 *   theirs are not. So all hosts of the first priority are good and its shares exact, since Envoy lowers a cluster's
 *   share by the part of its hosts that is not; and when all else is gone these are tried.
 * - No address and port is there twice, whoever names it (`holdersOf`): Envoy would merge the two.
 */
export function tiersOf(view: View, road: Road, port: ServicePort): readonly (readonly Share[])[] {
  const offers = offersOf(view, road, port)
  const { priorities } = spreadAmong(offers, view, road, port)
  const isExact = road.imported.policy !== undefined
  const parted = new Map(
    priorities.flat().flatMap(({ cluster }) => {
      const offer = offers.get(cluster)
      return offer === undefined ? [] : [[cluster as string, partedOf(offer, { view, isExact })] as const]
    }),
  )
  const scale = hostScale([...parted.values()])
  const asideOf = ({ cluster, weight, last }: Placed): Row[] => {
    const one = parted.get(cluster)
    if (one === undefined || (one.aside.length === 0 && !last)) return []
    const rest = one.aside.map((host) => ({ ...host, weight: 1 }))
    return [{ of: one, weight, hosts: last ? [...inUseOf(one, scale).map(unhealthy), ...rest] : rest }]
  }
  const inUse = priorities.map((level) =>
    level.flatMap((placed): Row[] => {
      const one = placed.last ? undefined : parted.get(placed.cluster)
      return one === undefined ? [] : [{ of: one, weight: placed.weight, hosts: inUseOf(one, scale) }]
    }),
  )
  return [...inUse, priorities.flat().flatMap(asideOf)]
    .map((rows) => sharesOf(rows.filter(({ hosts }) => hosts.length > 0)))
    .filter((shares) => shares.length > 0)
}

/** The share that each cluster has of the calls of one federated service port now, and the order of what waits. */
export const spreadOf = (view: View, road: Road, port: ServicePort): Spread =>
  spreadAmong(offersOf(view, road, port), view, road, port)

/** What `tiersOf` reads of other clusters, beside the road and the own pods: inputs of whatever is kept of it. */
export function tierInputs(view: View, road: Road, port: ServicePort): readonly unknown[] {
  const { traffic, summaries } = view
  const { key } = road.imported
  const heard = road.sources.flatMap(({ cluster }) => [
    summaries.services.get(cluster)?.get(key),
    summaries.gateways.get(cluster),
  ])
  if (traffic === undefined) return heard
  const moved = road.sources.flatMap(({ cluster }) => [
    traffic.clusters.get(cluster),
    traffic.gatewaysDown.get(cluster),
    traffic.gatewaysDraining.get(cluster),
    traffic.peaks.get(peakKey(cluster, key, port.port)),
  ])
  return [...heard, traffic.services.get(key), ...moved]
}

function spreadAmong(offers: ReadonlyMap<string, Offer>, view: View, road: Road, port: ServicePort): Spread {
  const { policy, settings } = road.imported
  const spillByReadiness = policy?.spillByReadiness ?? false
  const named = new Set<string>()
  const demoted: Candidate[] = []
  const tiers = road.tiers.map((tier) =>
    tier.members.flatMap((member): Candidate[] => {
      const { cluster, weight } = member
      const offer = offers.get(cluster)
      // Whatever the config says, a cluster is dialled in one place.
      if (offer === undefined || named.has(cluster)) return []
      named.add(cluster)
      const peak = view.traffic?.peaks.get(peakKey(cluster, road.imported.key, port.port))
      const counted = { ready: offer.ready, total: offer.total, ...(peak === undefined ? {} : { peak }) }
      const admission = admissionOf(view, road, offer)
      if (!isDemoted(view, road, cluster))
        return [candidateOf({ cluster, weight }, counted, { spillByReadiness, ...admission })]
      demoted.push(candidateOf({ cluster, weight }, counted, { spillByReadiness, percent: 100 }))
      return []
    }),
  )
  return spread(demoted.length === 0 ? tiers : [...tiers, demoted], {
    factor: settings.overprovisioningFactor,
    spillByReadiness,
  })
}

/** Not heard by the centre, and its policy puts it behind all others for that; one that drops it leaves it as last resort. */
const isDemoted = ({ traffic }: View, { imported }: Road, cluster: ClusterName): boolean =>
  imported.policy?.onExporterLost === 'demote' && traffic?.services.get(imported.key)?.get(cluster)?.why === 'lost'

/**
 * How much of a source is admitted: what is said of it for this service, else of the cluster, and never more than a drain
 * of the service leaves. What is said of clusters, and drains, concern others: the own pods are known here, and own
 * callers keep them.
 */
function admissionOf({ traffic, home }: View, { imported }: Road, { source }: Offer): Admission {
  const { cluster } = source
  const isOwn = cluster === home.cluster
  const said = traffic?.services.get(imported.key)?.get(cluster) ?? (isOwn ? undefined : traffic?.clusters.get(cluster))
  const drain = isOwn ? undefined : imported.drains?.find((one) => one.cluster === cluster)
  const percent = Math.min(said?.percent ?? 100, drain?.percent ?? 100)
  return { percent, ...(said?.cap === undefined ? {} : { cap: said.cap }) }
}

/** One cluster in one priority. */
type Row = { readonly of: Parted; readonly weight: number; readonly hosts: readonly Host[] }

function sharesOf(rows: readonly Row[]): readonly Share[] {
  const weights = wholeWeights(rows.map((row) => row.weight))
  return rows.map(({ of: { offer }, hosts }, at) => ({
    cluster: offer.source.cluster as string,
    region: offer.source.region,
    zone: offer.zone,
    weight: weights[at] ?? 1,
    hosts,
    behind: offer.behind.kind,
  }))
}

function inUseOf(parted: Parted, scale: number): readonly Host[] {
  const weight = Math.max(1, Math.round(podsBehind(parted) * scale))
  return parted.inUse.map((host) => ({ ...host, weight }))
}

const unhealthy = (host: Host): Host => ({ ...host, health: 'UNHEALTHY' })

/**
 * Weights as whole numbers from 1 on, in proportion to four digits; whole ones of modest size stay as they are. A tier of
 * one has no shares to give, so its weight never moves.
 */
function wholeWeights(raw: readonly number[]): readonly number[] {
  if (raw.length < 2) return raw.map(() => 1)
  if (raw.every((w) => Number.isInteger(w) && w >= 1 && w <= 1_000_000)) return raw
  const most = Math.max(...raw)
  return raw.map((w) => Math.max(1, Math.round((w / most) * 10_000)))
}
