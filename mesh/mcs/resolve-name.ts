import type { ImportedService, Source } from '#mesh/model/cluster-config.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { clusterSetHostOf, podHostOf } from '#mesh/model/host.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { View } from '#mesh/model/view.ts'

export const clusterSetZone = 'clusterset.local'

/** One record under the name that was asked for, or under `name`. */
export type NameRecord =
  | { readonly type: 'A' | 'AAAA'; readonly address: string; readonly name?: string }
  | { readonly type: 'SRV'; readonly port: number; readonly target: string }
  | { readonly type: 'TXT'; readonly text: string }

/**
 * What there is of a name. `unknown`: there may be something, and nobody has said yet. `no data`: the name exists, or one
 * below it does, without a record of this type.
 */
export type NameAnswer =
  | { readonly kind: 'records'; readonly records: readonly NameRecord[]; readonly more?: readonly NameRecord[] }
  | { readonly kind: 'no data' | 'no name' | 'unknown' | 'not ours' }

/**
 * Answers a name of the cluster set, lower case and without the last dot. `type` is that of the DNS (`A`, `SRV`).
 *
 * A service has its cluster-set IP. Of a headless one each ready pod counts: an own one by its address, one of another
 * cluster by the address that is kept for it here, or its own where both share a network.
 *
 * `hasNamespace` says whether this cluster has a namespace, undefined where that is not known.
 *
 * Source: MCS API, "Kubernetes DNS-Based Multicluster Service Discovery" 1.0.0; RFC 8020 for names above others.
 */
export function resolveName(
  view: View,
  name: string,
  type: string,
  hasNamespace: (namespace: string) => boolean | undefined = () => undefined,
): NameAnswer {
  if (name !== clusterSetZone && !name.endsWith(`.${clusterSetZone}`)) return { kind: 'not ours' }
  const labels = name
    .slice(0, -clusterSetZone.length - 1)
    .split('.')
    .filter((label) => label !== '')
  if (labels.length === 0) return { kind: 'no data' }
  if (labels.join('.') === 'dns-version') return only(type, [{ type: 'TXT', text: '1.0.0' }])
  if (labels.pop() !== 'svc') return { kind: 'no name' }
  if (labels.length === 0) return { kind: 'no data' }
  const { config, own } = view
  if (!config) return { kind: 'unknown' }
  const namespace = labels.pop() ?? ''
  const service = labels.pop()
  if (service === undefined) {
    const imports = config.imports.keys().filter((key) => !own.refused.has(key))
    return { kind: imports.some((key) => key.startsWith(`${namespace}/`)) ? 'no data' : 'no name' }
  }
  const key = `${namespace}/${service}` as ServiceKey
  const imported = own.refused.has(key) ? undefined : config.imports.get(key)
  // Offered from here, and the centre has not said yet to whom.
  if (!imported) return { kind: own.exports.has(key) && !own.refused.has(key) ? 'unknown' : 'no name' }
  // It is not imported, as the API has it: an address is not given later either.
  if (hasNamespace(namespace) === false) return { kind: 'no name' }
  return resolveIn(view, imported, labels, type)
}

/** What stands before the service's name. */
function resolveIn(view: View, imported: ImportedService, labels: readonly string[], type: string): NameAnswer {
  const [first = '', second = '', ...more] = labels
  if (more.length > 0) return { kind: 'no name' }
  if (labels.length === 0) return wholeOf(view, imported, type)
  if (second === '_tcp') return serversOf(view, imported, first, type)
  if (labels.length === 1) {
    if (first === '_tcp') return { kind: 'no data' }
    return clusterOf(view, imported, first, type)
  }
  return podOf(view, imported, { hostname: first, cluster: second }, type)
}

function wholeOf(view: View, imported: ImportedService, type: string): NameAnswer {
  if (!imported.headless) return addressed(ipsOf(view, imported), type)
  const pods = podsOf(view, imported)
  if (pods.length > 0)
    return addressed(
      pods.map(({ address }) => address),
      type,
    )
  return { kind: imported.sources.every((source) => isHeard(view, imported, source)) ? 'no name' : 'unknown' }
}

/** Undefined where it is not known yet. Without a range the own Service's addresses stand in, where it is offered here too. */
function ipsOf(view: View, { key }: ImportedService): readonly string[] | undefined {
  const { clusterSet, own } = view
  if (clusterSet === undefined) return own.exports.has(key) ? (own.services.get(key)?.clusterIps ?? []) : []
  const ip = clusterSet.get(key)?.ip
  return ip === undefined ? undefined : [ip]
}

/** The part of one cluster, where its export asks for a name of its own. */
function clusterOf(view: View, imported: ImportedService, cluster: string, type: string): NameAnswer {
  const source = imported.sources.find((one) => one.cluster === cluster)
  if (!source) return { kind: 'no name' }
  if (!source.perCluster) return { kind: imported.headless ? 'no data' : 'no name' }
  return addressed(partOf(view, imported.key, cluster), type)
}

function podOf(
  view: View,
  imported: ImportedService,
  { hostname, cluster }: { readonly hostname: string; readonly cluster: string },
  type: string,
): NameAnswer {
  const source = imported.sources.find((one) => one.cluster === cluster)
  if (!source || !imported.headless) return { kind: 'no name' }
  if (!isHeard(view, imported, source)) return { kind: 'unknown' }
  const found = podsIn(view, imported, source).filter((pod) => pod.hostname === hostname)
  if (found.length > 0)
    return addressed(
      found.map(({ address }) => address),
      type,
    )
  const isReady = cluster !== view.home.cluster && readyNames(view, imported.key, cluster).includes(hostname)
  return { kind: isReady ? (view.clusterSet ? 'unknown' : 'no data') : 'no name' }
}

function serversOf(view: View, imported: ImportedService, said: string, type: string): NameAnswer {
  const port = imported.ports.find(({ name }) => name !== '' && `_${name}` === said)
  if (!port) return { kind: 'no name' }
  if (!imported.headless) {
    const target = clusterSetHostOf(imported.key)
    const ips = ipsOf(view, imported)
    if (ips === undefined) return { kind: 'unknown' }
    return only(
      type,
      [{ type: 'SRV', port: port.port, target }],
      ips.map((address) => addressRecord(address, target)),
    )
  }
  const pods = podsOf(view, imported).filter(({ hostname }) => hostname !== undefined)
  const found = pods.map(({ hostname = '', cluster, address, ports }) => {
    const target = podHostOf(imported.key, cluster, hostname)
    return {
      server: { type: 'SRV' as const, port: ports?.[port.name] ?? port.port, target },
      address: addressRecord(address, target),
    }
  })
  if (found.length > 0)
    return only(
      type,
      found.map(({ server }) => server),
      found.map(({ address }) => address),
    )
  return { kind: imported.sources.every((source) => isHeard(view, imported, source)) ? 'no name' : 'unknown' }
}

type NamedPod = {
  readonly cluster: string
  readonly hostname?: string
  readonly address: string
  /** By the port's name, where it is dialled itself. */
  readonly ports?: Readonly<Record<string, number>>
}

const podsOf = (view: View, imported: ImportedService): readonly NamedPod[] =>
  imported.sources.flatMap((source) => podsIn(view, imported, source))

/** The ready pods of one source that can be dialled from here. */
function podsIn(view: View, { key }: ImportedService, { cluster }: Source): readonly NamedPod[] {
  if (cluster === view.home.cluster)
    return (view.own.endpoints.get(key) ?? []).filter(isReady).map(({ address, hostname, ports }) => ({
      ...{ cluster, address, ports },
      ...(hostname === undefined ? {} : { hostname }),
    }))
  const flat =
    view.summaries.services
      .get(cluster)
      ?.get(key)
      ?.flat?.filter(({ draining }) => !draining) ?? []
  const named = readyNames(view, key, cluster).flatMap((hostname): NamedPod[] => {
    const kept = partOf(view, key, `${hostname}.${cluster}`) ?? []
    const direct = flat.filter((one) => one.hostname === hostname).map(({ address }) => address)
    const addresses = kept.length > 0 ? kept : [...new Set(direct)]
    return addresses.map((address) => ({ cluster, hostname, address }))
  })
  const unnamed = flat.filter(({ hostname }) => hostname === undefined).map(({ address }) => address)
  return [...named, ...[...new Set(unnamed)].map((address) => ({ cluster, address }))]
}

const isReady = ({ health }: Endpoint): boolean => health === 'ready'

const readyNames = (view: View, key: ServiceKey, cluster: string): readonly string[] =>
  (view.summaries.services.get(cluster)?.get(key)?.podNames ?? [])
    .filter(({ ready }) => ready)
    .map(({ hostname }) => hostname)

const isHeard = (view: View, { key }: ImportedService, { cluster }: Source): boolean =>
  cluster === view.home.cluster || view.summaries.services.get(cluster)?.has(key) === true

function partOf({ clusterSet }: View, key: ServiceKey, part: string): readonly string[] | undefined {
  const address = clusterSet?.get(key)?.parts[part]
  if (address !== undefined) return [address]
  return clusterSet === undefined ? [] : undefined
}

const addressRecord = (address: string, name?: string): NameRecord => ({
  ...{ type: address.includes(':') ? 'AAAA' : 'A', address },
  ...(name === undefined ? {} : { name }),
})

const addressed = (addresses: readonly string[] | undefined, type: string): NameAnswer =>
  addresses === undefined
    ? { kind: 'unknown' }
    : only(
        type,
        addresses.map((one) => addressRecord(one)),
      )

function only(type: string, all: readonly NameRecord[], more: readonly NameRecord[] = []): NameAnswer {
  const records = all.filter((one) => one.type === type)
  return records.length === 0 ? { kind: 'no data' } : { kind: 'records', records, more }
}
