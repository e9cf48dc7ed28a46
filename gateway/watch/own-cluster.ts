import { isDeepStrictEqual } from 'node:util'
import {
  type EndpointFacts,
  endpointsOf,
  type HomePlace,
  type PodObject,
  type Slice,
} from '#gateway/watch/endpoints.ts'
import type { GatewayService, OwnGateway } from '#gateway/watch/gateway-service.ts'
import type { PlacedObject } from '#gateway/watch/parse-file.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { NetworkName, ServiceKey } from '#mesh/model/id.ts'
import type { PeerAuthentication } from '#mesh/model/pod.ts'
import type { Service } from '#mesh/model/service.ts'
import type { OwnCluster, OwnExport } from '#mesh/model/view.ts'

export const emptyCluster: OwnCluster = {
  services: new Map(),
  endpoints: new Map(),
  pods: new Map(),
  exports: new Map(),
  refused: new Set(),
  peerAuthentications: [],
  gateways: [],
}

/**
 * The own cluster as one value, from all its objects in order of their ids. Equal objects give an equal value whatever
 * came before; parts equal to those of `before` are the very same objects, and so is the whole, so that whoever renders
 * from it can remember by identity. A service is in `endpoints` as soon as it exists: without slices it has none.
 */
export function ownClusterOf(objects: readonly PlacedObject[], home: HomePlace, before = emptyCluster): OwnCluster {
  const sorted = sortByKind(objects)
  const facts = { home, pods: sorted.pods, namespaceNetworks: sorted.namespaceNetworks }
  const next: OwnCluster = {
    services: sharedMap(sorted.services, before.services),
    endpoints: allEndpoints(sorted, facts, before.endpoints),
    pods: sharedMap(
      mapped(sorted.pods, ({ pod }) => pod),
      before.pods,
    ),
    exports: sharedMap(sorted.exports, before.exports),
    refused: isDeepStrictEqual(sorted.refused, before.refused) ? before.refused : sorted.refused,
    peerAuthentications: sharedList(sorted.policies, before.peerAuthentications),
    gateways: sharedList(gatewaysOf(sorted, home), before.gateways ?? []),
  }
  const parts = Object.keys(next) as (keyof OwnCluster)[]
  return parts.every((part) => next[part] === before[part]) ? before : next
}

type Sorted = {
  readonly services: Map<ServiceKey, Service>
  readonly slices: Map<ServiceKey, Slice[]>
  readonly pods: Map<string, PodObject>
  readonly exports: Map<ServiceKey, OwnExport>
  readonly refused: Set<ServiceKey>
  readonly policies: PeerAuthentication[]
  readonly namespaceNetworks: Map<string, NetworkName>
  readonly gateways: GatewayService[]
}

function sortByKind(objects: readonly PlacedObject[]): Sorted {
  const sorted: Sorted = {
    services: new Map(),
    slices: new Map(),
    pods: new Map(),
    exports: new Map(),
    refused: new Set(),
    policies: [],
    namespaceNetworks: new Map(),
    gateways: [],
  }
  for (const { object, at } of objects) sortIn(sorted, object, at)
  return sorted
}

function sortIn(sorted: Sorted, object: PlacedObject['object'], at: string): void {
  switch (object.kind) {
    case 'Service': {
      const { kind: _, gateway, ...service } = object
      if (gateway) sorted.gateways.push(gateway)
      sorted.services.set(object.key, { ...service, origin: at })
      return
    }
    case 'EndpointSlice':
      sorted.slices.set(object.service, [...(sorted.slices.get(object.service) ?? []), object])
      return
    case 'Pod':
      sorted.pods.set(`${object.pod.namespace}/${object.pod.name}`, object)
      return
    case 'ServiceExport': {
      const { kind: _, ...exported } = object
      sorted.exports.set(object.key, { ...exported, origin: at })
      return
    }
    case 'ServiceImport':
      if (!object.accept) sorted.refused.add(object.key)
      return
    case 'PeerAuthentication':
      sorted.policies.push(object.policy)
      return
    case 'Namespace':
      if (object.network) sorted.namespaceNetworks.set(object.name, object.network)
      return
    case 'ServiceAccount':
      return // pods name their accounts; the object itself adds nothing yet
  }
}

/** Each once, sorted. A Service that leads to another network than the cluster's says nothing about it. */
function gatewaysOf(sorted: Sorted, home: HomePlace): readonly OwnGateway[] {
  const all = sorted.gateways.filter(({ network }) => network === home.network).flatMap(({ gateways }) => gateways)
  const byPlace = new Map(all.map((one) => [`${one.address}:${one.port}`, one]))
  return [...byPlace].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one)
}

/** What each list of endpoints was made from: a service whose objects are the very same ones has the very same list. */
const madeFrom = new WeakMap<readonly Endpoint[], readonly unknown[]>()
/** The pods that were there when these endpoints were made. */
const podsAt = new WeakMap<OwnCluster['endpoints'], ReadonlyMap<string, PodObject>>()

function allEndpoints(
  sorted: Sorted,
  facts: EndpointFacts,
  before: OwnCluster['endpoints'],
): ReadonlyMap<ServiceKey, readonly Endpoint[]> {
  const networks = JSON.stringify([facts.home, ...sorted.namespaceNetworks])
  const oldPods = podsAt.get(before)
  const samePods = oldPods !== undefined && isSameMap(sorted.pods, oldPods)
  const all = mapped(sorted.services, ({ key, clusterIps: [clusterIp] }) => {
    const slices = sorted.slices.get(key) ?? []
    const old = before.get(key) ?? []
    const inputs = [networks, clusterIp, ...slices]
    if (samePods && isSameList(inputs, madeFrom.get(old))) return old
    const found = endpointsOf(slices, { ...facts, ...(clusterIp ? { clusterIp } : {}) })
    const shared = sharedEndpoints(found, old)
    madeFrom.set(shared, inputs)
    return shared
  })
  const result = isSameMap(all, before) ? before : all
  podsAt.set(result, sorted.pods)
  return result
}

const isSameList = (a: readonly unknown[], b: readonly unknown[] | undefined): boolean =>
  a.length === b?.length && a.every((one, at) => one === b[at])

const mapped = <K, A, B>(map: ReadonlyMap<K, A>, change: (value: A) => B): Map<K, B> => {
  const result = new Map<K, B>()
  for (const [key, value] of map) result.set(key, change(value))
  return result
}

function sharedEndpoints(next: readonly Endpoint[], before: readonly Endpoint[]): readonly Endpoint[] {
  const old = new Map(before.map((endpoint) => [endpoint.address, endpoint]))
  return sharedList(
    next.map((endpoint) => same(endpoint, old.get(endpoint.address))),
    before,
  )
}

const same = <T>(next: T, before: T | undefined): T =>
  before !== undefined && next !== before && isDeepStrictEqual(next, before) ? before : next

/** `before` itself where nothing changed; otherwise its equal members are kept. */
function sharedMap<K, V>(next: ReadonlyMap<K, V>, before: ReadonlyMap<K, V>): ReadonlyMap<K, V> {
  const shared = new Map<K, V>()
  for (const [key, value] of next) shared.set(key, same(value, before.get(key)))
  return isSameMap(shared, before) ? before : shared
}

function isSameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of a) if (b.get(key) !== value) return false
  return true
}

function sharedList<T>(next: readonly T[], before: readonly T[]): readonly T[] {
  const shared = next.map((item, index) => same(item, before[index]))
  return shared.length === before.length && shared.every((item, index) => item === before[index]) ? before : shared
}
