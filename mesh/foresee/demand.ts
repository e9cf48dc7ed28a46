import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { LoadWindow } from '#mesh/model/load.ts'
import type { Demand } from '#mesh/policy/check-drain.ts'

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
    windows.map(([cluster, { rows, windowMs }]) => {
      const services = [...Map.groupBy(rows, ({ service }) => service)].map(([service, all]): [ServiceKey, Demand] => [
        service,
        {
          requestsPerSecond: (all.reduce((sum, { issued }) => sum + issued, 0) * 1000) / windowMs,
          connections: all.reduce((sum, { active }) => sum + active, 0),
        },
      ])
      return [cluster, new Map(services)]
    }),
  )
}
