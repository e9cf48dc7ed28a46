import { type Consumers, consumersOf } from '#mesh/compile/consumers.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import type { ClusterName, ServiceKey, TrustDomain } from '#mesh/model/id.ts'
import { partsOf } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Groups, groupsOf } from '#mesh/policy/tiers-of-policy.ts'
import { formatSpiffeId, spiffeId } from '#mesh/trust/spiffe-id.ts'

/** One cluster's offer of one service, checked against the rest of the fleet. */
export type Offer = {
  readonly member: Member
  readonly export: ServiceExport
  readonly consumers: Consumers
  /** Trust domains of other meshes that may call it, sorted. */
  readonly foreign: readonly TrustDomain[]
  /** Exact SPIFFE ids that answer for the service there, sorted; empty = no caller could verify it, nobody imports it. */
  readonly identities: readonly string[]
  /** What its exporter should be told about it, whoever looks. */
  readonly conditions: readonly Condition[]
}

/** The fleet arranged for compiling: members by name, offers by service with the oldest first. */
export type Market = {
  readonly fleet: Fleet
  readonly members: ReadonlyMap<ClusterName, Member>
  /** Names in order. */
  readonly names: readonly ClusterName[]
  readonly services: ReadonlyMap<ServiceKey, readonly Offer[]>
  readonly groups: Groups
}

/** Arranges a fleet; the order of its lists does not matter. Throws `internal` where two members carry one name. */
export function marketOf(fleet: Fleet): Market {
  const members = new Map(fleet.members.toSorted(byText((m) => m.name)).map((m) => [m.name, m]))
  if (members.size !== fleet.members.length)
    throw new Problem('internal', `mesh "${fleet.mesh}" has two members of one name: nothing was compiled`)
  const narrowings = Map.groupBy(fleet.narrowings, (n) => n.key)
  const names = new Set(members.keys())
  const groups = groupsOf(fleet.groups)
  const offers = [...members.values()].flatMap((member) =>
    [...member.exports.values()].map((offered) =>
      offerOf(member, offered, {
        members: names,
        groups,
        narrowings: narrowings.get(offered.key) ?? [],
        foreign: fleet.foreign,
      }),
    ),
  )
  const byService = Map.groupBy(offers.toSorted(oldestFirst), (offer) => offer.export.key)
  return {
    fleet,
    members,
    names: [...names],
    groups,
    services: new Map([...byService].toSorted(([a], [b]) => compareText(a, b))),
  }
}

function offerOf(member: Member, offered: ServiceExport, facts: Parameters<typeof consumersOf>[2]): Offer {
  const { consumers, foreign, conditions } = consumersOf(member, offered, facts)
  const identities = identitiesOf(member, offered)
  if (identities.length === 0) conditions.push(noIdentity(offered.key))
  return { member, export: offered, consumers, foreign, identities, conditions }
}

/** A cluster vouches for its own trust domain only, so ids are built from names and never taken from a report. */
function identitiesOf(member: Member, offered: ServiceExport): string[] {
  const { namespace } = partsOf(offered.key)
  const ids = offered.serviceAccounts.flatMap((account) => {
    try {
      return [formatSpiffeId(spiffeId(member.trustDomain, namespace, account))]
    } catch {
      return [] // not a Kubernetes name: no certificate can carry it
    }
  })
  return [...new Set(ids)].toSorted()
}

const noIdentity = (key: ServiceKey): Condition => ({
  type: 'NotImportable',
  reason: 'NoMeshedPods',
  message:
    'no meshed pod has been seen behind it, so no caller knows whom to trust: ' +
    'label its pods security.istio.io/tlsMode=istio and give them a proxy',
  object: `service ${key}`,
})

/** Source: MCS API (KEP-1645), "the oldest export wins"; the name decides between equals. */
const oldestFirst = (a: Offer, b: Offer): number =>
  a.export.createdAt - b.export.createdAt || compareText(a.member.name, b.member.name)

/** By code unit, in every locale the same. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
export const byText =
  <T>(text: (item: T) => string) =>
  (a: T, b: T): number =>
    compareText(text(a), text(b))
