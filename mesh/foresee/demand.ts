import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { LoadWindow } from '#mesh/model/load.ts'
import { type Demand, demandIn } from '#mesh/policy/demand.ts'

export type { Demand }

/** By calling cluster, then service. A cluster that is not in it is not measured; a service that is not: nobody calls it. */
export type Demands = ReadonlyMap<ClusterName, ReadonlyMap<ServiceKey, Demand>>

/** Undefined = not measured. */
export function demandOf(demands: Demands, caller: ClusterName, key: ServiceKey): Demand | undefined {
  const measured = demands.get(caller)
  return measured && (measured.get(key) ?? { requestsPerSecond: 0, connections: 0 })
}

/** The demands in what relays measured last, by caller. */
export function demandsOf(windows: readonly (readonly [ClusterName, LoadWindow])[]): Demands {
  return new Map(
    windows.map(([cluster, window]) => {
      // Those of one service in one pass: a report has thousands of rows.
      const rows = Map.groupBy(window.rows, ({ service }) => service)
      const { windowMs } = window
      return [cluster, new Map([...rows].map(([service, of]) => [service, demandIn({ rows: of, windowMs }, service)]))]
    }),
  )
}
