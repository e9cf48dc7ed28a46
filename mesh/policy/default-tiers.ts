import type { Tier, TrafficSettings } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'

/** Where callers or endpoints are, as far as the order of failover cares. An empty region is unknown. */
export type Place = { readonly cluster: ClusterName; readonly region: string }

/**
 * The order in which callers at `home` try `sources` when no policy says otherwise: the own cluster, then the other
 * clusters of its region, then the rest. Members of a tier weigh the same and are sorted by name; an empty tier is left
 * out, so tier n is Envoy priority n. An unknown region is nobody's neighbour: such clusters are among the rest.
 */
export function defaultTiers(home: Place, sources: readonly Place[]): Tier[] {
  const near = (place: Place): boolean => home.region !== '' && place.region === home.region
  const isOwn = (place: Place): boolean => place.cluster === home.cluster
  return [
    sources.filter(isOwn),
    sources.filter((place) => !isOwn(place) && near(place)),
    sources.filter((place) => !isOwn(place) && !near(place)),
  ]
    .filter((places) => places.length > 0)
    .map((places) => ({
      members: places
        .map((place) => place.cluster)
        .toSorted()
        .map((cluster) => ({ cluster, weight: 1 })),
    }))
}

/**
 * What is compiled for every service unless a policy says otherwise.
 *
 * `overprovisioningFactor` 140 is a capacity of 71 %: a tier keeps everything until it has lost more than 29 % of its
 * endpoint weight, then spills in proportion. In a tier of several clusters that counts pods (measured: of two equal
 * clusters one dead, 69.8 % stay). A factor that holds all of a mixed tier's traffic while any member lives (100 × the
 * tier's pods / the smallest member's) was rejected as a default: Envoy has one factor per service, so it would also
 * press a third of the own cluster's pods to carry the load of all of them.
 *
 * Three failures to eject and three retries are what left an idempotent caller without one failure when a tier died;
 * one second to connect covers TCP and TLS up to a round trip of about 250 ms.
 */
export const defaultSettings: TrafficSettings = {
  overprovisioningFactor: 140,
  ejectAfterFailures: 3,
  retries: 3,
  connectTimeoutMs: 1000,
}
