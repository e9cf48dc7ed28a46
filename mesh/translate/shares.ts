import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { View } from '#mesh/model/view.ts'
import { type Road, roadOf } from '#mesh/translate/callable.ts'
import { offersOf } from '#mesh/translate/offers.ts'
import { spreadOf } from '#mesh/translate/tiers.ts'

/** Below it a share is nobody's: it comes of weights that are rounded. */
export const shareMin = 0.001

/** The part of a service's calls that each cluster has now, all its ports alike; 1 together, empty where nobody is reached. */
export function sharesOf(view: View, imported: ImportedService): ReadonlyMap<ClusterName, number> {
  const shares = new Map<ClusterName, number>()
  const reached = imported.ports.flatMap((port) => {
    const road = roadIn(view, imported, port.port)
    const [first] = road ? spreadOf(view, road, port).priorities : []
    return first ? [first] : []
  })
  for (const first of reached)
    for (const { cluster, share } of first) shares.set(cluster, (shares.get(cluster) ?? 0) + share / reached.length)
  return shares
}

/** The clusters that a service is meant to be served by first: a tier of its policy may be several of its tiers. */
export function firstTierOf({ tiers, policy }: ImportedService): readonly ClusterName[] {
  const isFirst = (at: number): boolean => (policy?.tierOf[at] ?? at) === (policy?.tierOf[0] ?? 0)
  return tiers.flatMap(({ members }, at) => (isFirst(at) ? members.map(({ cluster }) => cluster) : []))
}

/** What is counted of one port of a service in one cluster; `ready` undefined where nothing was heard. */
export type ReadyCount = {
  readonly cluster: ClusterName
  readonly port: number
  readonly ready: number | undefined
  readonly total: number
}

/** The pods of a service in each cluster that can be reached, by port. */
export function readyOf(view: View, imported: ImportedService): readonly ReadyCount[] {
  return imported.ports.flatMap((port) => {
    const road = roadIn(view, imported, port.port)
    const offers = road ? [...offersOf(view, road, port)] : []
    return offers.map(([, { source, ready, total }]) => ({ cluster: source.cluster, port: port.port, ready, total }))
  })
}

const roadIn = ({ own, home }: View, imported: ImportedService, port: number): Road | undefined =>
  roadOf(imported, port, { exported: own.exports.has(imported.key), cluster: home.cluster })
