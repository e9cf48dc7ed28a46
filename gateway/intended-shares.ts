import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { IntendedShares } from '#mesh/model/load.ts'
import type { Traffic } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { shareMin, sharesOf } from '#mesh/translate/shares.ts'

/** The shares that proxies are led by now. Each service's are found once for each view. */
export type Intended = {
  of(service: ServiceKey): IntendedShares | undefined
  /** Services that do not stand as they would without policy, verdict or drain. */
  notPlain(): readonly ServiceKey[]
  /** All that may be called. */
  all(): readonly ServiceKey[]
}

export function intendedShares(view: () => View): Intended {
  let last: { readonly from: readonly unknown[]; readonly known: Map<ServiceKey, IntendedShares> } | undefined
  return {
    of: (service) => {
      const now = view()
      const from = [now.config, now.summaries, now.own, now.traffic]
      if (!last?.from.every((one, at) => one === from[at])) last = { from, known: new Map() }
      const known = last.known.get(service)
      const imported = now.config?.imports.get(service)
      if (known || !imported) return known
      const made = sharesFor(now, imported)
      last.known.set(service, made)
      return made
    },
    all: () => [...(view().config?.imports.keys() ?? [])],
    notPlain: () => {
      const { config, traffic } = view()
      return [...(config?.imports.values() ?? [])]
        .filter((one) => one.policy !== undefined || one.drains !== undefined || isMoved(one, traffic))
        .map(({ key }) => key)
    },
  }
}

const isMoved = ({ key, sources }: ImportedService, traffic: Traffic | undefined): boolean =>
  traffic !== undefined && (traffic.services.has(key) || sources.some(({ cluster }) => traffic.clusters.has(cluster)))

function sharesFor(view: View, imported: ImportedService): IntendedShares {
  const shares = sharesOf(view, imported)
  const isLimited = imported.tiers.some(({ members }) => members.some(({ capacity }) => capacity !== undefined))
  const wanted = isLimited ? sharesOf(withoutCaps(view, imported.key), imported) : undefined
  const names = [...new Set([...shares.keys(), ...(wanted?.keys() ?? [])])].sort()
  return {
    service: imported.key,
    intended: names.flatMap((cluster) => {
      const [share, more] = [rounded(shares.get(cluster)), rounded(wanted?.get(cluster))]
      if (share < shareMin && more < shareMin) return []
      return [{ cluster, share, ...(wanted ? { wanted: more } : {}) }]
    }),
  }
}

const rounded = (share = 0): number => Math.min(1, Math.round(share * 1e4) / 1e4)

/** What the service would be given if no quota held it back. */
function withoutCaps(view: View, key: ServiceKey): View {
  const { traffic } = view
  const own = traffic?.services.get(key)
  if (!traffic || !own) return view
  const free = new Map([...own].map(([cluster, { cap: _, ...rest }]): [ClusterName, typeof rest] => [cluster, rest]))
  return { ...view, traffic: { ...traffic, services: new Map(traffic.services).set(key, free) } }
}
