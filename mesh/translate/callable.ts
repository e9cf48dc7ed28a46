import type { ImportedService, Source, Tier } from '#mesh/model/cluster-config.ts'
import { clusterSetHostOf, hostOf } from '#mesh/model/host.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Service, ServicePort } from '#mesh/model/service.ts'
import type { ClusterSetAddresses, View } from '#mesh/model/view.ts'
import { defaultTiers } from '#mesh/policy/default-tiers.ts'
import { compareText } from '#mesh/translate/encode.ts'
import type { Memo } from '#mesh/translate/memo.ts'
import { headlessPods } from '#mesh/translate/own-pods.ts'
import { ownPodsByName, type PodNames, partsOfRoad, podNamesFor } from '#mesh/translate/parts.ts'

/**
 * One thing that a proxy of this cluster may call: one Envoy cluster, with every host name that means it.
 *
 * `local`: pods of this cluster, known to nobody else, rendered as istiod does. `federated`: all exporters, in tiers;
 * this cluster's own pods are among them where its name is among the sources.
 */
export type Callable = {
  readonly key: ServiceKey
  /** Names the Envoy cluster. */
  readonly host: string
  readonly port: ServicePort
  /** Fully qualified names that mean this, `host` first. */
  readonly names: readonly string[]
  /** Addresses that mean this too: of the own Service, and those that are kept for it here. */
  readonly clusterIps: readonly string[]
  /** Absent = `local`. */
  readonly road?: Road
  /** Set where it means one pod of a headless service. */
  readonly hostname?: string
  /** Set for the own pods of a headless Service: who calls them has chosen one by its address. */
  readonly headless?: true
}

export type Road = {
  readonly imported: ImportedService
  /** The exporters of this port. */
  readonly sources: readonly Source[]
  /** Tiers without those that do not offer this port; none is empty. */
  readonly tiers: readonly Tier[]
}

/**
 * All that proxies of this cluster may call, sorted by service and port; an unchanged service gives the same objects.
 *
 * `….svc.clusterset.local` means all exporters. `….svc.cluster.local` means the own pods, plus the exporters' where this
 * cluster has no such Service or exports it too. Where both mean the same, there is one Envoy cluster under both names;
 * where they differ, two. What this cluster withdrew or refuses counts at once, before the centre has heard of it.
 *
 * A headless Service keeps its plain name for the own pods alone, exported or not: who resolves it has chosen a pod, and
 * a call that lands in another cluster would break what such Services are for. Single pods and single clusters are hosts
 * beside these (`partsOfRoad`).
 */
export function callablesOf(view: View, memo: Memo): readonly Callable[] {
  const { own, config, home, summaries } = view
  const imports = config?.imports ?? noImports
  // All that is read of the view: what happens behind ordinary services is none of it.
  const pods = headlessPods(view, memo)
  const inputs = [
    own.services,
    own.refused,
    own.exports,
    imports,
    pods,
    summaries.services,
    view.clusterSet,
    home.cluster,
  ]
  return memo.keep('callables', inputs, () => callablesFrom(view, imports, memo))
}

const noImports: ReadonlyMap<ServiceKey, ImportedService> = new Map()

function callablesFrom(view: View, imports: typeof noImports, memo: Memo): readonly Callable[] {
  const { own, home } = view
  const keys = memo.list('keys', [own.services, imports], () =>
    [...new Set([...own.services.keys(), ...imports.keys()])].sort(compareText),
  )
  const all = keys.flatMap((key) => {
    const service = own.services.get(key)
    const imported = own.refused.has(key) ? undefined : imports.get(key)
    const exported = own.exports.has(key)
    const podNames = podNamesFor(view, key, imported?.sources ?? [])
    const named = podNames && JSON.stringify(podNames)
    const addresses = imported && view.clusterSet?.get(key)
    return memo.data(`callable ${key}`, [service, imported, exported, home.cluster, named, addresses], () =>
      callablesOfService(key, { service, imported, exported, cluster: home.cluster, podNames, addresses }),
    )
  })
  return memo.list('all callables', [all], () => all)
}

type Facts = {
  readonly service: Service | undefined
  readonly imported: ImportedService | undefined
  readonly exported: boolean
  readonly cluster: ClusterName
  readonly podNames: PodNames | undefined
  readonly addresses: ClusterSetAddresses | undefined
}

function callablesOfService(key: ServiceKey, facts: Facts): readonly Callable[] {
  const { service, imported } = facts
  const ports = new Set([...(service?.ports ?? []), ...(imported?.ports ?? [])].map((p) => p.port))
  return [...ports].toSorted((a, b) => a - b).flatMap((port) => callablesOfPort(key, port, facts))
}

function callablesOfPort(key: ServiceKey, port: number, facts: Facts): readonly Callable[] {
  const { service, imported, exported, cluster, podNames, addresses } = facts
  const ownPort = service?.ports.find((p) => p.port === port)
  const road = imported && roadOf(imported, port, { exported, cluster })
  const host = hostOf(key)
  const everywhere = clusterSetHostOf(key)
  const clusterIps = service?.clusterIps ?? []
  const own = { key, host, names: [host], clusterIps, ...(service?.headless ? { headless: true as const } : {}) }
  const local: readonly Callable[] = ownPort
    ? [{ ...own, port: ownPort }, ...ownPodsByName(key, ownPort, podNames?.[cluster] ?? [])]
    : []
  const importedPort = imported?.ports.find((p) => p.port === port)
  if (!road || !importedPort) return local

  const isOurs = (source: Source): boolean => source.cluster === cluster
  const isJoined = exported && imported.sources.some(isOurs) && (!ownPort || road.sources.some(isOurs))
  const isSame = service === undefined || (isJoined && !service.headless)
  const parts = partsOfRoad(key, importedPort, { road, podNames, addresses })
  const kept = addresses?.ip === undefined ? [] : [addresses.ip]
  const all = { key, port: importedPort, road }
  if (isSame) return [{ ...all, host, names: [host, everywhere], clusterIps: [...clusterIps, ...kept] }, ...parts]
  return [...local, { ...all, host: everywhere, names: [everywhere], clusterIps: kept }, ...parts]
}

/**
 * The exporters of one port; undefined where nobody offers it. A source that withdrew here is left out. Where that leaves
 * nobody in any tier (a policy names others only, and they are revoked or lack the port) all exporters are called, the own
 * cluster first: better than nobody.
 */
export function roadOf(
  imported: ImportedService,
  port: number,
  own: { readonly exported: boolean; readonly cluster: ClusterName },
): Road | undefined {
  const sources = imported.sources.filter((s) => s.ports.includes(port) && (own.exported || s.cluster !== own.cluster))
  const names = new Set<string>(sources.map((s) => s.cluster))
  const tiers = imported.tiers
    .map((tier) => ({ members: tier.members.filter((m) => names.has(m.cluster) && m.weight > 0) }))
    .filter((tier) => tier.members.length > 0)
  if (sources.length === 0) return undefined
  const home = { cluster: own.cluster, region: '' }
  return { imported, sources, tiers: tiers.length > 0 ? tiers : defaultTiers(home, sources) }
}
