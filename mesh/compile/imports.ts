import { mayUse } from '#mesh/compile/consumers.ts'
import { byText, type Market, type Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import type { ImportedService, Source } from '#mesh/model/cluster-config.ts'
import type { Member } from '#mesh/model/fleet.ts'
import { hostOf } from '#mesh/model/host.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { defaultSettings, defaultTiers } from '#mesh/policy/default-tiers.ts'

/** The offers of one service that `home` may call and could verify; its own among them. Oldest first. */
export const visibleOffers = (home: Member, offers: readonly Offer[]): readonly Offer[] =>
  offers.filter((offer) => offer.identities.length > 0 && mayUse(home.name, offer.member.name, offer.consumers))

/**
 * A function that gives a service as `home` may call it: every exporter that lets it in is a source, its own cluster
 * too; a source that lost all its ports to older exports is left out. Undefined where nobody offers it anything.
 *
 * Clusters that see the same offers from the same region get the same object, so that a fleet of a thousand clusters
 * holds, encodes and hashes each service once per region and not once per cluster.
 */
export function importsFrom(market: Market): (home: Member, key: ServiceKey) => ImportedService | undefined {
  const seen = new Map<string, ImportedService | undefined>()
  return (home, key) => {
    const visible = visibleOffers(home, market.services.get(key) ?? [])
    if (visible.length === 0) return undefined
    const isExporter = visible.some((offer) => offer.member.name === home.name)
    const names = visible.map((offer) => offer.member.name).join(',')
    const sight = `${key} ${isExporter ? home.name : ''} ${names} ${home.region}`
    if (!seen.has(sight)) seen.set(sight, importedService(home, key, visible))
    return seen.get(sight)
  }
}

function importedService(home: Member, key: ServiceKey, visible: readonly Offer[]): ImportedService | undefined {
  const { ports, offered } = settlePorts(home.name, visible)
  const sources = visible
    .map((offer) => sourceOf(offer, offered.get(offer.member.name) ?? []))
    .filter((source) => source.ports.length > 0)
    .toSorted(byText((source) => source.cluster))
  if (sources.length === 0) return undefined
  const tiers = defaultTiers({ cluster: home.name, region: home.region }, sources)
  return { key, host: hostOf(key), ports, sources, tiers, settings: defaultSettings }
}

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
