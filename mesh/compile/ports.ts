import { compareText, type Offer } from '#mesh/compile/offer.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { ServicePort } from '#mesh/model/service.ts'

/** A port that an exporter offers otherwise than `winner`, which came first. */
export type LostPort = {
  readonly loser: Offer
  readonly port: number
  readonly winner: Offer
  /** The winner's port that stands in the way: another number where they share a name. */
  readonly against: number
}

/** What a service's ports are for one importer, and which of them each exporter offers. */
export type SettledPorts = {
  readonly ports: readonly ServicePort[]
  readonly offered: ReadonlyMap<ClusterName, readonly number[]>
  readonly lost: readonly LostPort[]
}

/**
 * Settles what exporters disagree about. `offers` come oldest first; the first to name a port number or a port name
 * decides its number, name and protocol, and a later offer that says otherwise loses that port (its others stand).
 * Where `home` is among the exporters it goes first: for a cluster's own callers its own Service is the truth, and no
 * other cluster can take a port of it away by claiming an older export.
 *
 * Source: MCS API (KEP-1645): the union of ports, the oldest export wins, the loser is told by a Conflict condition.
 */
export function settlePorts(home: ClusterName, offers: readonly Offer[]): SettledPorts {
  const byNumber = new Map<number, { readonly port: ServicePort; readonly by: Offer }>()
  const byName = new Map<string, { readonly port: ServicePort; readonly by: Offer }>()
  const lost: LostPort[] = []
  const offered = new Map<ClusterName, number[]>()
  const order = [...offers.filter((o) => o.member.name === home), ...offers.filter((o) => o.member.name !== home)]
  for (const offer of order) {
    const kept: number[] = []
    for (const port of offer.export.ports.toSorted(byContent)) {
      const other = [byNumber.get(port.port), byName.get(port.name)].find((s) => s && !isSame(s.port, port))
      if (other) {
        lost.push({ loser: offer, port: port.port, winner: other.by, against: other.port.port })
        continue
      }
      const settled = byNumber.get(port.port) ?? { port, by: offer }
      byNumber.set(port.port, settled)
      byName.set(port.name, settled)
      kept.push(port.port)
    }
    offered.set(
      offer.member.name,
      [...new Set(kept)].toSorted((a, b) => a - b),
    )
  }
  const ports = [...byNumber.values()].map((s) => s.port).toSorted((a, b) => a.port - b.port)
  return { ports, offered, lost }
}

const byContent = (a: ServicePort, b: ServicePort): number =>
  a.port - b.port || compareText(a.name, b.name) || compareText(a.protocol, b.protocol)

const isSame = (a: ServicePort, b: ServicePort): boolean =>
  a.port === b.port && a.name === b.name && a.protocol === b.protocol
