import type { Fleet } from '#mesh/model/fleet.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import type { Place } from '#mesh/policy/default-tiers.ts'
import { type Groups, groupsOf } from '#mesh/policy/tiers-of-policy.ts'

/** What a policy is checked against of one service. */
export type ServiceFacts = {
  readonly key: ServiceKey
  /** Of its oldest export. */
  readonly labels: Readonly<Record<string, string>>
  readonly exporters: readonly Place[]
  readonly ports: readonly ServicePort[]
  readonly sticky: boolean
}

/** What a policy is checked against. */
export type PolicyFacts = {
  readonly clusters: ReadonlySet<ClusterName>
  readonly regions: ReadonlySet<string>
  readonly groups: Groups
  readonly services: readonly ServiceFacts[]
  /** The other policies of the mesh. */
  readonly others: readonly TrafficPolicy[]
}

/** The facts of a fleet; `others` = all policies but the one that is checked. */
export function policyFactsOf(fleet: Fleet, others: readonly TrafficPolicy[]): PolicyFacts {
  const offers = fleet.members.flatMap((member) => [...member.exports.values()].map((offered) => ({ member, offered })))
  const services = [...Map.groupBy(offers, ({ offered }) => offered.key)].map(([key, all]): ServiceFacts => {
    const [oldest] = all.toSorted(
      (a, b) => a.offered.createdAt - b.offered.createdAt || (a.member.name < b.member.name ? -1 : 1),
    )
    return {
      key,
      labels: oldest?.offered.labels ?? {},
      exporters: all.map(({ member }) => ({ cluster: member.name, region: member.region })),
      ports: all.flatMap(({ offered }) => offered.ports),
      sticky: all.some(({ offered }) => offered.sticky),
    }
  })
  return {
    clusters: new Set(fleet.members.map(({ name }) => name)),
    regions: new Set(fleet.members.map(({ region }) => region)),
    groups: groupsOf(fleet.groups),
    services: services.toSorted((a, b) => (a.key < b.key ? -1 : 1)),
    others,
  }
}
