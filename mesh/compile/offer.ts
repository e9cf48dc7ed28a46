import { type Consumers, consumersOf } from '#mesh/compile/consumers.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import type { ClusterName, ServiceKey, TrustDomain } from '#mesh/model/id.ts'
import { partsOf } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Groups, groupsOf } from '#mesh/policy/tiers-of-policy.ts'
import { formatSpiffeId, spiffeId } from '#mesh/trust/spiffe-id.ts'

/** What of the member that offers a service callers elsewhere depend on. */
export type Exporter = Pick<Member, 'name' | 'network' | 'region' | 'trustDomain'>

/** One cluster's offer of one service, checked against the rest of the fleet. */
export type Offer = {
  readonly member: Exporter
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

/**
 * Arranges a fleet; the order of its lists does not matter. What is as it was in `before` is the object of before. Throws
 * `internal` where two members carry one name.
 */
export function marketOf(fleet: Fleet, before?: Market): Market {
  const groups = before && sameItems(before.fleet.groups, fleet.groups) ? before.groups : groupsOf(fleet.groups)
  const isSame =
    before?.groups === groups &&
    before.fleet.mesh === fleet.mesh &&
    sameItems(before.fleet.members, fleet.members) &&
    sameItems(before.fleet.narrowings, fleet.narrowings) &&
    sameItems(before.fleet.foreign, fleet.foreign)
  if (before && isSame) return { ...before, fleet }
  const members = new Map(fleet.members.toSorted(byText((m) => m.name)).map((m) => [m.name, m]))
  if (members.size !== fleet.members.length)
    throw new Problem('internal', `mesh "${fleet.mesh}" has two members of one name: nothing was compiled`)
  const narrowings = Map.groupBy(fleet.narrowings, (n) => n.key)
  const names = new Set(members.keys())
  const offers = [...members.values()].flatMap((member) =>
    [...member.exports.values()].map((offered) => {
      const facts = {
        ...{ members: names, groups, narrowings: narrowings.get(offered.key) ?? [] },
        foreign: fleet.foreign,
      }
      const old = before?.services.get(offered.key)?.find((offer) => offer.member.name === member.name)
      return offerOf(member, offered, { facts, old })
    }),
  )
  const byService = [...Map.groupBy(offers.toSorted(oldestFirst), (offer) => offer.export.key)]
  const services = byService.map(([key, now]): [ServiceKey, readonly Offer[]] => {
    const old = before?.services.get(key)
    return [key, old && sameItems(old, now) ? old : now]
  })
  return {
    fleet,
    members,
    groups,
    names: [...names],
    services: new Map(services.toSorted(([a], [b]) => compareText(a, b))),
  }
}

/** True where both hold the same objects in the same order. */
export const sameItems = <T>(a: readonly T[] = [], b: readonly T[] = []): boolean =>
  a === b || (a.length === b.length && a.every((item, at) => item === b[at]))

function offerOf(
  member: Member,
  offered: ServiceExport,
  { facts, old }: { readonly facts: Parameters<typeof consumersOf>[2]; readonly old: Offer | undefined },
): Offer {
  const { name, network, region, trustDomain } = member
  const { consumers, foreign, conditions } = consumersOf(member, offered, facts)
  const isKnown = old?.export === offered && old.member.trustDomain === trustDomain
  const identities = isKnown ? old.identities : identitiesOf(member, offered)
  if (identities.length === 0) conditions.push(noIdentity(offered.key))
  const exporter = { name, network, region, trustDomain }
  const offer = { member: exporter, export: offered, consumers, foreign, identities, conditions }
  return isKnown && sameOffer(old, offer) ? old : offer
}

const sameOffer = (a: Offer, b: Offer): boolean =>
  a.member.network === b.member.network &&
  a.member.region === b.member.region &&
  sameConsumers(a.consumers, b.consumers) &&
  sameItems(a.foreign, b.foreign) &&
  a.conditions.length === b.conditions.length &&
  a.conditions.every((one, at) => one.type === b.conditions[at]?.type && one.message === b.conditions[at]?.message)

const sameConsumers = (a: Consumers, b: Consumers): boolean =>
  a === b || (a !== 'everybody' && b !== 'everybody' && a.size === b.size && a.isSubsetOf(b))

/** A cluster vouches for its own trust domain only, so ids are built from names and never taken from a report. */
function identitiesOf(member: Exporter, offered: ServiceExport): string[] {
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
