import { isDeepStrictEqual } from 'node:util'
import { endpointsOf, type HomePlace, type PodObject, type Slice } from '#gateway/watch/endpoints.ts'
import type { Replaced } from '#gateway/watch/file-state.ts'
import type { GatewayService, OwnGateway } from '#gateway/watch/gateway-service.ts'
import type { PlacedObject } from '#gateway/watch/parse-file.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { NetworkName, ServiceKey } from '#mesh/model/id.ts'
import type { PeerAuthentication } from '#mesh/model/pod.ts'
import type { Service } from '#mesh/model/service.ts'
import type { OwnCluster, OwnExport, OwnPolicyObject, RejectedObject } from '#mesh/model/view.ts'

export const emptyCluster: OwnCluster = {
  services: new Map(),
  endpoints: new Map(),
  pods: new Map(),
  exports: new Map(),
  refused: new Set(),
  peerAuthentications: [],
  gateways: [],
  trafficObjects: [],
  unreadFiles: 0,
}

/** Objects that are there and were never read in a usable form; and files of which it is not known what they hold. */
export type Unread = { readonly rejected: readonly RejectedObject[]; readonly files: number }
const nothingUnread: Unread = { rejected: [], files: 0 }

/**
 * The own cluster as one value, from all its objects in order of their ids. Equal objects give an equal value whatever
 * came before; parts equal to those of `before` are the very same objects, and so is the whole, so that whoever renders
 * from it can remember by identity. A service is in `endpoints` as soon as it exists: without slices it has none.
 *
 * `replaced` saves work where these took the place of others in the objects that `before` was made from, and nothing
 * else changed.
 */
export function ownClusterOf(
  objects: readonly PlacedObject[],
  home: HomePlace,
  before = emptyCluster,
  replaced?: readonly Replaced[],
  unread = nothingUnread,
): OwnCluster {
  const known = sortedAt.get(before)
  const isKnown = unread.files === (before.unreadFiles ?? 0)
  const moved = known && replaced && isKnown ? withSlices(known, replaced) : undefined
  const sorted = moved?.sorted ?? sortByKind(objects)
  const next = moved
    ? { ...before, endpoints: endpointsAgain(sorted, home, before.endpoints, moved.services) }
    : wholeOf(sorted, home, { before, unread })
  const parts = Object.keys(next) as (keyof OwnCluster)[]
  // Of the empty one, which all share, nothing is remembered.
  const isSame = before !== emptyCluster && parts.every((part) => next[part] === before[part])
  const result = isSame ? before : next
  sortedAt.set(result, sorted)
  return result
}

function wholeOf(
  sorted: Sorted,
  home: HomePlace,
  { before, unread }: { readonly before: OwnCluster; readonly unread: Unread },
): OwnCluster {
  return {
    services: sharedMap(sorted.services, before.services),
    endpoints: allEndpoints(sorted, home, before.endpoints, sortedAt.get(before)?.pods),
    pods: sharedMap(
      mapped(sorted.pods, ({ pod }) => pod),
      before.pods,
    ),
    exports: sharedMap(sorted.exports, before.exports),
    refused: isDeepStrictEqual(sorted.refused, before.refused) ? before.refused : sorted.refused,
    peerAuthentications: sharedList(sorted.policies, before.peerAuthentications),
    gateways: sharedList(gatewaysOf(sorted, home), before.gateways ?? []),
    trafficObjects: sharedList(trafficObjectsOf(sorted, unread), before.trafficObjects ?? []),
    unreadFiles: unread.files,
  }
}

/** The objects that each value was last made from. */
const sortedAt = new WeakMap<OwnCluster, Sorted>()

/** The same objects but for EndpointSlices, and whose they are; undefined where any other kind was replaced. */
function withSlices(
  sorted: Sorted,
  replaced: readonly Replaced[],
): { readonly sorted: Sorted; readonly services: ReadonlySet<ServiceKey> } | undefined {
  const slices = new Map(sorted.slices)
  const services = new Set<ServiceKey>()
  for (const { old, now } of replaced) {
    const [was, is] = [old.object, now.object]
    if (was.kind !== 'EndpointSlice' || is.kind !== 'EndpointSlice' || was.service !== is.service) return undefined
    services.add(is.service)
    slices.set(is.service, slices.get(is.service)?.map((slice) => (slice === was ? is : slice)) ?? [])
  }
  return { sorted: { ...sorted, slices }, services }
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
  readonly trafficObjects: OwnPolicyObject[]
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
    trafficObjects: [],
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
    case 'GlobalTrafficPolicy':
    case 'SamenessGroup':
      sorted.trafficObjects.push(object)
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

/** Those that can be read, and by name those that cannot: that an object is wrong is another thing than that it is gone. */
function trafficObjectsOf({ trafficObjects }: Sorted, { rejected }: Unread): readonly OwnPolicyObject[] {
  const idOf = (one: OwnPolicyObject): string =>
    one.kind === 'SamenessGroup' ? `${one.kind} ${one.name}` : `${one.kind} ${one.namespace}/${one.name}`
  const all = new Map(trafficObjects.map((one) => [idOf(one), one]))
  for (const { object, reason } of rejected) {
    const unreadable = all.has(object) ? undefined : unreadableOf(object, reason.slice(0, 500))
    if (unreadable) all.set(object, unreadable)
  }
  return [...all].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one)
}

function unreadableOf(id: string, fault: string): OwnPolicyObject | undefined {
  const [, namespace, name = ''] = /^GlobalTrafficPolicy ([^/ ]+)\/([^/ ]+)$/.exec(id) ?? []
  if (namespace !== undefined) return { kind: 'GlobalTrafficPolicy', namespace, name, fault }
  const [, group] = /^SamenessGroup ([^/ ]+)$/.exec(id) ?? []
  return group === undefined ? undefined : { kind: 'SamenessGroup', name: group, fault }
}

/** What each list of endpoints was made from: a service whose objects are the very same ones has the very same list. */
const madeFrom = new WeakMap<readonly Endpoint[], readonly unknown[]>()

type Endpoints = OwnCluster['endpoints']

/** Of each Service its endpoints; `pods` are those that the endpoints before were made with. */
function allEndpoints(sorted: Sorted, home: HomePlace, before: Endpoints, pods: Sorted['pods'] | undefined): Endpoints {
  const again = pods !== undefined && isSameMap(sorted.pods, pods)
  const { of } = endpointsBy(sorted, home, before, again)
  const found = mapped(sorted.services, of)
  return isSameMap(found, before) ? before : found
}

/** The same where only slices of these services are others. */
function endpointsAgain(sorted: Sorted, home: HomePlace, before: Endpoints, keys: Iterable<ServiceKey>): Endpoints {
  const { of } = endpointsBy(sorted, home, before, true)
  const next = new Map(before)
  for (const key of keys) {
    const service = sorted.services.get(key)
    if (service) next.set(key, of(service))
  }
  return isSameMap(next, before) ? before : next
}

/** `again`: the pods are those with which the endpoints before were made. */
function endpointsBy(sorted: Sorted, home: HomePlace, before: Endpoints, again: boolean) {
  const { pods, namespaceNetworks } = sorted
  const networks = JSON.stringify([home, ...namespaceNetworks])
  return {
    of: ({ key, clusterIps: [clusterIp] }: Service): readonly Endpoint[] => {
      const slices = sorted.slices.get(key) ?? []
      const old = before.get(key) ?? []
      const inputs = [networks, clusterIp, ...slices]
      if (again && isSameList(inputs, madeFrom.get(old))) return old
      const found = endpointsOf(slices, { home, pods, namespaceNetworks, ...(clusterIp ? { clusterIp } : {}) })
      const shared = sharedEndpoints(found, old)
      madeFrom.set(shared, inputs)
      return shared
    },
  }
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
