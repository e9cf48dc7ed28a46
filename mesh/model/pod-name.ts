import type { Endpoint } from '#mesh/model/endpoint.ts'
import { podHostOf, sniOf } from '#mesh/model/host.ts'
import { labelFault, type ServiceKey } from '#mesh/model/id.ts'

/** A pod of a headless service that others may call by its hostname. */
export type PodName = { readonly hostname: string; readonly ready: boolean }

/** More of a service are not named: each is a host of its own at every caller. */
export const podNamesMax = 100

/** Whether its SNI is one that Envoy takes: for one longer than 255 it refuses a whole update. */
export const fitsSni = (host: string): boolean => sniOf(host, 65_535).length <= 255

/**
 * The names of the pods behind a headless service, whatever their health, so that a host does not come and go with
 * readiness: those with a hostname of their own (`spec.hostname` and `subdomain`, as a StatefulSet gives), shorter names
 * first, so that the first hundred of `db-0 … db-119` are `db-0 … db-99`. A hostname that two pods carry is one name for
 * both. `left` are the names past the bound, and those too long for an SNI.
 */
export function podNamesOf(
  service: { readonly key: ServiceKey; readonly cluster: string },
  endpoints: readonly Endpoint[],
): { readonly names: readonly PodName[]; readonly left: readonly string[] } {
  const byName = Map.groupBy(
    endpoints.filter(({ hostname }) => hostname !== undefined && labelFault(hostname) === undefined),
    ({ hostname }) => hostname ?? '',
  )
  const all = [...byName.keys()].toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1))
  const kept = all.filter((name) => fitsSni(podHostOf(service.key, service.cluster, name))).slice(0, podNamesMax)
  const names = kept.map((hostname) => ({
    hostname,
    ready: byName.get(hostname)?.some(({ health }) => health === 'ready') ?? false,
  }))
  return { names, left: all.filter((hostname) => !kept.includes(hostname)) }
}
