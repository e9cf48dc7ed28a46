import { mayUse } from '#mesh/compile/consumers.ts'
import { visibleOffers } from '#mesh/compile/imports.ts'
import type { Market, Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** What two exports may disagree on: a port by its number, or what the service is as a whole. */
type Matter = number | 'type' | 'session affinity'

/** Two exports that at least one importer sees and that disagree. */
type Clash = { readonly younger: Offer; readonly older: Offer; readonly on: Matter }

/**
 * A function that gives the `Conflict` conditions of one service by exporter: the younger of two exports is told of what it
 * offers otherwise than the older one, where at least one importer sees both. The older one is named only where its
 * exporter lets the younger one in: otherwise nothing about it may be known there.
 *
 * Source: MCS API (KEP-1645), condition `Conflict` on the losing ServiceExport and its reasons.
 */
export function conflictsFrom(market: Market): (exporter: ClusterName, key: ServiceKey) => readonly Condition[] {
  const clashes = new Map<ServiceKey, readonly Clash[]>()
  return (exporter, key) => {
    const known = clashes.get(key) ?? clashesOf(market, key)
    clashes.set(key, known)
    const own = known.filter((clash) => clash.younger.member.name === exporter)
    return [...Map.groupBy(own, (clash) => clash.on)].map(([on, of]) => conflict(exporter, key, { on, of }))
  }
}

function clashesOf(market: Market, key: ServiceKey): readonly Clash[] {
  const offers = market.services.get(key) ?? []
  if (agree(offers)) return []
  const rank = new Map(offers.map((offer, index) => [offer, index]))
  const isYounger = (a: Offer, b: Offer): boolean => (rank.get(a) ?? 0) > (rank.get(b) ?? 0)
  return sights(market, offers).flatMap(({ home, visible }) => [
    ...clashesOfKind(visible),
    ...settlePorts(home, visible).lost.map(({ loser, port, winner, against }) =>
      isYounger(winner, loser)
        ? { younger: winner, older: loser, on: against }
        : { younger: loser, older: winner, on: port },
    ),
  ])
}

/** Those that are another kind of service than the oldest. Session affinity means nothing where that one is headless. */
function clashesOfKind([older, ...others]: readonly Offer[]): readonly Clash[] {
  if (!older) return []
  const of = older.export
  return others.flatMap((younger): Clash[] => [
    ...(younger.export.headless === of.headless ? [] : [{ younger, older, on: 'type' as const }]),
    ...(of.headless || (younger.export.sticky ?? false) === (of.sticky ?? false)
      ? []
      : [{ younger, older, on: 'session affinity' as const }]),
  ])
}

/** Where all exports together lose nothing, no part of them does. */
const agree = (offers: readonly Offer[]): boolean => {
  const [first] = offers
  if (first === undefined) return true
  return clashesOfKind(offers).length === 0 && settlePorts(first.member.name, offers).lost.length === 0
}

/** The different ways in which members see the offers: exporters one by one (their own goes first), the others by what they see. */
function sights(market: Market, offers: readonly Offer[]): { home: ClusterName; visible: readonly Offer[] }[] {
  const exporters = new Set(offers.map((offer) => offer.member.name))
  const found = new Map<string, { home: ClusterName; visible: readonly Offer[] }>()
  for (const member of market.members.values()) {
    const visible = visibleOffers(member, offers)
    const names = visible.map((offer) => offer.member.name).join(',')
    const key = exporters.has(member.name) ? member.name : ` ${names}`
    if (visible.length > 0 && !found.has(key)) found.set(key, { home: member.name, visible })
  }
  return [...found.values()]
}

function conflict(
  exporter: ClusterName,
  key: ServiceKey,
  clash: { readonly on: Matter; readonly of: readonly Clash[] },
): Condition {
  const older = clash.of.map((c) => c.older).filter((offer) => offer.member.name !== exporter)
  const named = older
    .filter((offer) => mayUse(exporter, offer.member.name, offer.consumers))
    .map((offer) => offer.member.name)
  const who = [...new Set(named)].toSorted()
  const by =
    older.length === 0
      ? 'another port of the same Service'
      : who.length > 0
        ? `the older export of ${someOf(who)}`
        : 'an older export of the same name'
  return { type: 'Conflict', ...said(clash.on, by), object: `service ${key}` }
}

/** Source: MCS API (KEP-1645), reasons of the condition `Conflict`. */
function said(on: Matter, by: string): Pick<Condition, 'reason' | 'message'> {
  switch (on) {
    case 'type':
      return {
        reason: 'TypeConflict',
        message:
          `the Service is headless, or is not, otherwise than in ${by}, which decides it for callers in other clusters: ` +
          'set clusterIP: None in all exporting clusters or in none',
      }
    case 'session affinity':
      return {
        reason: 'SessionAffinityConflict',
        message:
          `the Service has another sessionAffinity than in ${by}, which decides it for callers in other clusters: ` +
          'make it equal in all exporting clusters',
      }
    default:
      return {
        reason: 'PortConflict',
        message:
          `port ${on} has another number, name or protocol than in ${by}, which stands for callers in other ` +
          'clusters: make number, name and appProtocol of the port equal in all exporting clusters',
      }
  }
}
