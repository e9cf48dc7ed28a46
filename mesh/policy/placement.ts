import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { Admitted, Traffic } from '#mesh/model/traffic.ts'
import { type Counted, candidateOf, type Spread, spread } from '#mesh/policy/spread.ts'

/** How much of a cluster the callers of a service are given: the service's own word, else the cluster's. */
export const admittedOf = (
  traffic: Traffic | undefined,
  { key }: Pick<ImportedService, 'key'>,
  cluster: ClusterName,
): Admitted | undefined => traffic?.services.get(key)?.get(cluster) ?? traffic?.clusters.get(cluster)

/** Where the calls of one port of an imported service go by counts and by what moves traffic; roads are not looked at. */
export function placementOf(
  imported: ImportedService,
  port: number,
  { traffic, counted }: { readonly traffic: Traffic | undefined; readonly counted: (cluster: ClusterName) => Counted },
): Spread {
  const offering = new Set(
    imported.sources.filter(({ ports }) => ports.includes(port)).map(({ cluster }) => cluster as string),
  )
  const spillByReadiness = imported.policy?.spillByReadiness === true
  const tiers = imported.tiers.map(({ members }) =>
    members
      .filter(({ cluster }) => offering.has(cluster))
      .map((member) => {
        const admitted = admittedOf(traffic, imported, member.cluster)
        return candidateOf(member, counted(member.cluster), {
          ...{ spillByReadiness, percent: admitted?.percent ?? 100 },
          ...(admitted?.cap === undefined ? {} : { cap: admitted.cap }),
          ...(admitted?.why === 'dead' ? { dead: true } : {}),
        })
      }),
  )
  const { overprovisioningFactor } = imported.settings
  return spread(
    tiers.filter((tier) => tier.length > 0),
    { factor: overprovisioningFactor, spillByReadiness },
  )
}

/** The clusters that a service is meant to be served by first: a tier of its policy may be several of its tiers. */
export function firstTierOf({ tiers, policy }: ImportedService): readonly ClusterName[] {
  const isFirst = (at: number): boolean => (policy?.tierOf[at] ?? at) === (policy?.tierOf[0] ?? 0)
  return tiers.flatMap(({ members }, at) => (isFirst(at) ? members.map(({ cluster }) => cluster) : []))
}
