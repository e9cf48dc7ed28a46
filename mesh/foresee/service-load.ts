import { type Demands, demandOf } from '#mesh/foresee/demand.ts'
import type { Caller, Outlook } from '#mesh/foresee/outlook.ts'
import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { Capacity } from '#mesh/model/traffic-policy.ts'

/** A cluster that calls a service, and where its calls go. */
export type Calling = { readonly caller: Caller; readonly imported: ImportedService; readonly outlook: Outlook }

/** What a cluster would be given of one service by all its callers, beside what it is able to take. */
export type Overload = {
  readonly cluster: ClusterName
  readonly of: keyof Capacity
  readonly capacity: number
  readonly expected: number
}

/**
 * Clusters that would be given more than the capacity that a policy writes for them, and how many of the callers that
 * count for it are not measured: of those nothing is in `expected`.
 */
export function overloadsOf(
  callings: readonly Calling[],
  demands: Demands,
): { readonly overloads: readonly Overload[]; readonly notMeasured: readonly ClusterName[] } {
  const capacities = capacitiesOf(callings)
  if (capacities.size === 0) return { overloads: [], notMeasured: [] }
  const given = new Map<ClusterName, { requestsPerSecond: number; connections: number }>()
  const notMeasured = new Set<ClusterName>()
  for (const { caller, imported, outlook } of callings) {
    const demand = demandOf(demands, caller.cluster, imported.key)
    for (const [cluster, share] of outlook.shares) {
      if (!capacities.has(cluster)) continue
      if (!demand) notMeasured.add(caller.cluster)
      const sum = given.get(cluster) ?? { requestsPerSecond: 0, connections: 0 }
      sum.requestsPerSecond += (demand?.requestsPerSecond ?? 0) * share
      sum.connections += (demand?.connections ?? 0) * share
      given.set(cluster, sum)
    }
  }
  const overloads = [...capacities].flatMap(([cluster, capacity]) =>
    (['requestsPerSecond', 'connections'] as const).flatMap((of): Overload[] => {
      const [most, expected] = [capacity[of], given.get(cluster)?.[of] ?? 0]
      return most !== undefined && expected > most ? [{ cluster, of, capacity: most, expected }] : []
    }),
  )
  return { overloads, notMeasured: [...notMeasured].toSorted() }
}

/** What a policy writes is the same for all callers that it governs; where policies of callers differ, the least counts. */
function capacitiesOf(callings: readonly Calling[]): ReadonlyMap<ClusterName, Capacity> {
  const found = new Map<ClusterName, Capacity>()
  for (const imported of new Set(callings.map((one) => one.imported)))
    for (const { cluster, capacity } of imported.tiers.flatMap(({ members }) => members))
      if (capacity) found.set(cluster, least(found.get(cluster), capacity))
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function least(a: Capacity = {}, b: Capacity): Capacity {
  const min = (one?: number, other?: number) => (one === undefined ? other : Math.min(one, other ?? one))
  const [requestsPerSecond, connections] = [
    min(a.requestsPerSecond, b.requestsPerSecond),
    min(a.connections, b.connections),
  ]
  return {
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
    ...(connections === undefined ? {} : { connections }),
  }
}
