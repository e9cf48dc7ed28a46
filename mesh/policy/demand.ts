import type { ServiceKey } from '#mesh/model/id.ts'
import type { CallLoad } from '#mesh/model/load.ts'

/** What callers were measured to ask of a service. */
export type Demand = { readonly requestsPerSecond: number; readonly connections: number }

/** What was asked of a service in one window, wherever it was served; an empty window asks for no requests. */
export function demandIn(
  { rows, windowMs }: { readonly rows: readonly CallLoad[]; readonly windowMs: number },
  service: ServiceKey,
): Demand {
  let [issued, connections] = [0, 0]
  for (const row of rows)
    if (row.service === service) {
      issued += row.issued
      connections += row.active
    }
  return { requestsPerSecond: windowMs > 0 ? (issued * 1000) / windowMs : 0, connections }
}
