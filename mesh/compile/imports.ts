import { mayUse } from '#mesh/compile/consumers.ts'
import { byText, type Market, type Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import type { Condition, ImportedService, Source, SourceDrain } from '#mesh/model/cluster-config.ts'
import type { Member } from '#mesh/model/fleet.ts'
import { hostOf } from '#mesh/model/host.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { policyName, type TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { defaultSettings, defaultTiers } from '#mesh/policy/default-tiers.ts'
import { policyFor } from '#mesh/policy/rank-policies.ts'
import { compiledPolicy, settingsOf } from '#mesh/policy/settings-of-policy.ts'
import { policyTiers } from '#mesh/policy/tiers-of-policy.ts'

/** The offers of one service that `home` may call and could verify; its own among them. Oldest first. */
export const visibleOffers = (home: Member, offers: readonly Offer[]): readonly Offer[] =>
  offers.filter((offer) => offer.identities.length > 0 && mayUse(home.name, offer.member.name, offer.consumers))

/** A service as a cluster may call it, and what that cluster should be told about it. */
export type Import = { readonly service: ImportedService; readonly conditions: readonly Condition[] }

/**
 * A function that gives a service as `home` may call it: every exporter that lets it in is a source, its own cluster
 * too; a source that lost all its ports to older exports is left out. Undefined where nobody offers it anything.
 *
 * Clusters that see the same offers from the same region under the same policy get the same object, so that a fleet of a
 * thousand clusters holds, encodes and hashes each service once per region and not once per cluster.
 */
export function importsFrom(market: Market): (home: Member, key: ServiceKey) => Import | undefined {
  const seen = new Map<string, Import | undefined>()
  const policyOf = policiesFrom(market)
  return (home, key) => {
    const visible = visibleOffers(home, market.services.get(key) ?? [])
    if (visible.length === 0) return undefined
    const policy = policyOf(home, key)
    const isExporter = visible.some((offer) => offer.member.name === home.name)
    const names = visible.map((offer) => offer.member.name).join(',')
    const sight = `${key} ${isExporter ? home.name : ''} ${policy && policy.origin !== 'api' ? policy.origin : ''} ${names} ${home.region}`
    if (!seen.has(sight)) seen.set(sight, importOf(market, { home, key, visible, policy }))
    return seen.get(sight)
  }
}

/** The policy in force for a service, the same object for all callers that it is the same for. */
function policiesFrom({ fleet, services }: Market): (home: Member, key: ServiceKey) => TrafficPolicy | undefined {
  const policies = fleet.policies ?? []
  const origins = new Set(policies.map(({ origin }) => origin))
  const found = new Map<string, TrafficPolicy | undefined>()
  return (home, key) => {
    if (policies.length === 0) return undefined
    const caller = origins.has(home.name) ? home.name : undefined
    const which = `${caller ?? ''} ${key}`
    if (!found.has(which)) {
      const [oldest] = services.get(key) ?? []
      found.set(which, policyFor(key, oldest?.export.labels ?? {}, caller, policies))
    }
    return found.get(which)
  }
}

type Sight = {
  readonly home: Member
  readonly key: ServiceKey
  readonly visible: readonly Offer[]
  readonly policy: TrafficPolicy | undefined
}

function importOf(market: Market, { home, key, visible, policy }: Sight): Import | undefined {
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
  const drains = drainsOf(market, key, sources)
  const service = {
    ...{ key, host: hostOf(key), ports, sources, tiers: tiers.tiers },
    settings: policy ? settingsOf(policy) : defaultSettings,
    ...(policy ? { policy: compiledPolicy(policy, tierOf) } : {}),
    ...(drains.length > 0 ? { drains } : {}),
  }
  return { service, conditions: policy && !asked ? [namesNobody(key, policy)] : [] }
}

function drainsOf({ fleet }: Market, key: ServiceKey, sources: readonly Source[]): readonly SourceDrain[] {
  const all = (fleet.serviceDrains ?? []).filter((drain) => drain.key === key)
  return all
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
