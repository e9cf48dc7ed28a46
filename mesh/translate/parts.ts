import type { Source } from '#mesh/model/cluster-config.ts'
import { clusterHostOf, ownPodHostOf, podHostOf } from '#mesh/model/host.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { fitsSni, podNamesOf } from '#mesh/model/pod-name.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import type { ClusterSetAddresses, View } from '#mesh/model/view.ts'
import type { Callable, Road } from '#mesh/translate/callable.ts'

/** The hostnames of a service's pods by the cluster they are in. Undefined for almost every service: none has any. */
export type PodNames = Readonly<Record<string, readonly string[]>>

/**
 * Which pods of a service may be called one by one: the own ones of a headless Service, those of other clusters by what
 * their summaries name, whose word is not taken for a name that would not fit. Names, not health: a pod that is not ready
 * keeps its host.
 */
export function podNamesFor(view: View, key: ServiceKey, sources: readonly Source[]): PodNames | undefined {
  let found: Record<string, readonly string[]> | undefined
  const { cluster } = view.home
  const own = view.own.services.get(key)?.headless
    ? podNamesOf({ key, cluster }, view.own.endpoints.get(key) ?? []).names
    : undefined
  if (own && own.length > 0) found = { [cluster]: own.map(({ hostname }) => hostname) }
  for (const source of sources) {
    const said = view.summaries.services.get(source.cluster)?.get(key)?.podNames
    if (said === undefined || source.cluster === cluster) continue
    const names = said.map(({ hostname }) => hostname)
    found = { ...found, [source.cluster]: names.filter((name) => fitsSni(podHostOf(key, source.cluster, name))) }
  }
  return found
}

/** The own headless pods, each under the name that Kubernetes gives it: `<hostname>.<svc>.<ns>.svc.cluster.local`. */
export const ownPodsByName = (key: ServiceKey, port: ServicePort, hostnames: readonly string[]): readonly Callable[] =>
  hostnames.map((hostname) => {
    const host = ownPodHostOf(key, hostname)
    return { key, host, port, names: [host], clusterIps: [], hostname }
  })

/**
 * The hosts that mean a part of what a road leads to: a cluster, where its export asks for such a name, and the pods that
 * are named there. Each has one source and an SNI of its own, and no other to fail over to: whoever names it means it.
 */
export function partsOfRoad(
  key: ServiceKey,
  port: ServicePort,
  facts: {
    readonly road: Road
    readonly podNames: PodNames | undefined
    /** Addresses by which each is known where traffic is redirected: a stream has no name. */
    readonly addresses: ClusterSetAddresses | undefined
  },
): readonly Callable[] {
  const { road, podNames, addresses } = facts
  return road.sources.flatMap((source) => {
    const part = (host: string, more: { readonly hostname?: string }): Callable => {
      const name = more.hostname === undefined ? source.cluster : `${more.hostname}.${source.cluster}`
      const kept = addresses?.parts[name]
      const clusterIps = kept === undefined ? [] : [kept]
      return { ...{ key, host, port, names: [host], clusterIps }, road: roadTo(source, host, road), ...more }
    }
    const whole = source.perCluster ? [part(clusterHostOf(key, source.cluster), {})] : []
    const pods = podNames?.[source.cluster] ?? []
    return [...whole, ...pods.map((hostname) => part(podHostOf(key, source.cluster, hostname), { hostname }))]
  })
}

/** Without what concerns the other sources: a change there is none here. */
function roadTo(source: Source, host: string, { imported }: Road): Road {
  const tiers = [{ members: [{ cluster: source.cluster, weight: 1 }] }]
  const { cut: _cut, drains: _drains, policy, ...rest } = imported
  const ruled = policy && { policy: { ...policy, tierOf: [0] } }
  return { imported: { ...rest, ...ruled, host, sources: [source], tiers }, sources: [source], tiers }
}
