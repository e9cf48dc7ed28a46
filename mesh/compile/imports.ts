import { mayUse } from '#mesh/compile/consumers.ts'
import { byText, type Market, type Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import type { Condition, ImportedService, Source, SourceDrain, Tier, TierMember } from '#mesh/model/cluster-config.ts'
import type { Member, ServiceDrain } from '#mesh/model/fleet.ts'
import { hostOf } from '#mesh/model/host.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { policyName, type TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { defaultSettings, defaultTiers } from '#mesh/policy/default-tiers.ts'
import { isMeshWide } from '#mesh/policy/rank-policies.ts'
import { compiledPolicy, settingsOf } from '#mesh/policy/settings-of-policy.ts'
import { type PolicyTiers, policyTiers, seatOf } from '#mesh/policy/tiers-of-policy.ts'

/** The offers of one service that `home` may call and could verify; its own among them. Oldest first. */
export const visibleOffers = (home: Member, offers: readonly Offer[]): readonly Offer[] =>
  offers.filter((offer) => offer.identities.length > 0 && mayUse(home.name, offer.member.name, offer.consumers))

/** A service as a cluster may call it, and what that cluster should be told about it. */
export type Import = { readonly service: ImportedService; readonly conditions: readonly Condition[] }

/** One service, and who governs the calls of a cluster to it. */
export type Wanted = {
  readonly key: ServiceKey
  readonly offers: readonly Offer[]
  readonly drains: readonly ServiceDrain[]
  readonly policyOf: (home: ClusterName) => TrafficPolicy | undefined
  /** The one of the mesh, for those who have none of their own. */
  readonly meshPolicy: TrafficPolicy | undefined
}

/**
 * A service as each member may call it: every exporter that lets it in is a source, its own cluster too; a source that
 * lost all its ports to older exports is left out. Members that nobody offers anything are left out.
 *
 * Clusters that see the same offers from the same region under the same policy get the same object, so that a fleet of a
 * thousand clusters holds, encodes and hashes each service once per region and not once per cluster.
 */
export function importsOf(market: Market, wanted: Wanted): ReadonlyMap<ClusterName, Import> {
  const seen = new Map<string, Import | undefined>()
  const imports = new Map<ClusterName, Import>()
  for (const home of market.members.values()) {
    const visible = visibleOffers(home, wanted.offers)
    if (visible.length === 0) continue
    const policy = wanted.policyOf(home.name)
    const isExporter = visible.some((offer) => offer.member.name === home.name)
    const names = visible.map((offer) => offer.member.name).join(',')
    const origin = policy === wanted.meshPolicy ? '' : home.name
    const sight = `${isExporter ? home.name : ''} ${origin} ${names} ${home.region}`
    if (!seen.has(sight)) seen.set(sight, importOf(market, { home, visible, policy, wanted }))
    const found = seen.get(sight)
    if (found) imports.set(home.name, found)
  }
  return imports
}

type Sight = {
  readonly home: Member
  readonly wanted: Wanted
  readonly visible: readonly Offer[]
  readonly policy: TrafficPolicy | undefined
}

function importOf(market: Market, { home, wanted, visible, policy }: Sight): Import | undefined {
  const { key } = wanted
  const { ports, offered } = settlePorts(home.name, visible)
  const sources = visible
    .map((offer) => sourceOf(offer, offered.get(offer.member.name) ?? []))
    .filter((source) => source.ports.length > 0)
    .toSorted(byText((source) => source.cluster))
  if (sources.length === 0) return undefined
  const place = { cluster: home.name, region: home.region }
  const asked = policy && policyTiers(place, sources, policy.spec, market.groups)
  const tiers = asked ?? { tiers: defaultTiers(place, sources), tierOf: undefined }
  const tierOf = tiers.tierOf ?? tiers.tiers.map((_, at) => at)
  const drains = drainsOf(wanted, sources)
  const service = {
    ...{
      key,
      host: hostOf(key),
      ports,
      sources,
      tiers: withCapacities(market, tiers.tiers, { policy, wanted, sources }),
    },
    settings: policy ? settingsOf(policy) : defaultSettings,
    ...(policy ? { policy: compiledPolicy(policy, { tierOf, ports }) } : {}),
    ...(drains.length > 0 ? { drains } : {}),
    ...kindOf(visible),
  }
  return { service, conditions: policy ? aboutPolicy(key, policy, { asked, sources }) : [] }
}

/** What a service is as a whole. Source: MCS API (KEP-1645): the oldest export decides. */
function kindOf([oldest]: readonly Offer[]): Pick<ImportedService, 'headless' | 'sticky'> {
  return {
    ...(oldest?.export.headless ? { headless: true as const } : {}),
    ...(oldest?.export.sticky ? { sticky: true as const } : {}),
  }
}

/**
 * What a cluster can take is of all callers together, so a policy for the callers of one cluster neither says nor lifts it:
 * there it is what the policy of the mesh says.
 */
function withCapacities(
  { groups }: Market,
  tiers: readonly Tier[],
  { policy, wanted, sources }: Pick<Sight, 'policy' | 'wanted'> & { readonly sources: readonly Source[] },
): readonly Tier[] {
  if (!policy || isMeshWide(policy)) return tiers
  const written = wanted.meshPolicy?.spec.tiers ?? []
  return tiers.map(({ members }) => ({
    members: members.map(({ cluster, weight }): TierMember => {
      const place = sources.find((source) => source.cluster === cluster)
      const capacity = place && seatOf(place, written, groups)?.target.capacity
      return capacity ? { cluster, weight, capacity } : { cluster, weight }
    }),
  }))
}

/** What a fleet that moved under a policy has made of it; what it is written against is checked when it is written. */
function aboutPolicy(
  key: ServiceKey,
  policy: TrafficPolicy,
  { asked, sources }: { readonly asked: PolicyTiers | undefined; readonly sources: readonly Source[] },
): readonly Condition[] {
  if (!asked) return [namesNobody(key, policy)]
  const [only, ...others] = asked.tiers.flatMap(({ members }) => members)
  return only && others.length === 0 && sources.length > 1 ? [cannotFailOver(key, policy, only.cluster)] : []
}

function drainsOf({ drains }: Wanted, sources: readonly Source[]): readonly SourceDrain[] {
  return drains
    .filter(({ cluster }) => sources.some((source) => source.cluster === cluster))
    .map(({ cluster, percent }) => ({ cluster, percent }))
    .toSorted(byText(({ cluster }) => cluster))
}

const namesNobody = (key: ServiceKey, policy: TrafficPolicy): Condition => ({
  type: 'PolicyNamesNobody',
  reason: 'NoTarget',
  message:
    `policy ${policyName(policy)} names none of the clusters that offer it here, so the default order stands: ` +
    'add one of them to a tier, or say unlisted: last',
  object: `service ${key}`,
})

const cannotFailOver = (key: ServiceKey, policy: TrafficPolicy, cluster: ClusterName): Condition => ({
  type: 'PolicyCannotFailOver',
  reason: 'OneTarget',
  message:
    `of the clusters that offer it here policy ${policyName(policy)} names ${cluster} alone, so without it calls fail: ` +
    'add another one to a tier, or say unlisted: last',
  object: `service ${key}`,
})

const sourceOf = ({ member, identities, export: offered }: Offer, ports: readonly number[]): Source => ({
  cluster: member.name,
  network: member.network,
  region: member.region,
  trustDomain: member.trustDomain,
  identities,
  ports,
  since: offered.createdAt,
  ...(offered.perCluster ? { perCluster: true } : {}),
})
