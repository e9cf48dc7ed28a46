import { mayUse } from '#mesh/compile/consumers.ts'
import { visibleOffers } from '#mesh/compile/imports.ts'
import type { Market, Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** Two exports that at least one importer sees and that disagree on a port. */
type Clash = { readonly younger: Offer; readonly older: Offer; readonly port: number }

/**
 * A function that gives the `Conflict` conditions of one service by exporter: the younger of two exports is told of a
 * port that it offers otherwise than the older one, where at least one importer sees both. The older one is named only
 * where its exporter lets the younger one in: otherwise nothing about it may be known there.
 *
 * Source: MCS API (KEP-1645), condition `Conflict` on the losing ServiceExport.
 */
export function conflictsFrom(market: Market): (exporter: ClusterName, key: ServiceKey) => readonly Condition[] {
  const clashes = new Map<ServiceKey, readonly Clash[]>()
  return (exporter, key) => {
    const known = clashes.get(key) ?? clashesOf(market, key)
    clashes.set(key, known)
    const own = known.filter((clash) => clash.younger.member.name === exporter)
    return [...Map.groupBy(own, (clash) => clash.port)].map(([port, of]) => conflict(exporter, key, { port, of }))
  }
}

function clashesOf(market: Market, key: ServiceKey): readonly Clash[] {
  const offers = market.services.get(key) ?? []
  if (agree(offers)) return []
  const rank = new Map(offers.map((offer, index) => [offer, index]))
  const isYounger = (a: Offer, b: Offer): boolean => (rank.get(a) ?? 0) > (rank.get(b) ?? 0)
  return sights(market, offers).flatMap(({ home, visible }) =>
    settlePorts(home, visible).lost.map(({ loser, port, winner, against }) =>
      isYounger(winner, loser)
        ? { younger: winner, older: loser, port: against }
        : { younger: loser, older: winner, port },
    ),
  )
}

/** Where all exports together lose nothing, no part of them does. */
const agree = (offers: readonly Offer[]): boolean => {
  const [first] = offers
  return first === undefined || settlePorts(first.member.name, offers).lost.length === 0
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
  clash: { readonly port: number; readonly of: readonly Clash[] },
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
  return {
    type: 'Conflict',
    reason: 'PortConflict',
    message:
      `port ${clash.port} has another number, name or protocol than in ${by}, which stands for callers in other ` +
      'clusters: make number, name and appProtocol of the port equal in all exporting clusters',
    object: `service ${key}`,
  }
}
