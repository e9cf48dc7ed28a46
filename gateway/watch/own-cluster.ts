import { isDeepStrictEqual } from 'node:util'
import { endpointsOf, type HomePlace } from '#gateway/watch/endpoints.ts'
import type { OwnGateway } from '#gateway/watch/gateway-service.ts'
import type { PlacedObject } from '#gateway/watch/parse-file.ts'
import {
  type Change,
  type Moved,
  patched,
  type Sorted,
  sortByKind,
  withChanges,
} from '#gateway/watch/sorted-objects.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { Pod } from '#mesh/model/pod.ts'
import type { Service } from '#mesh/model/service.ts'
import type { OwnCluster, OwnPolicyObject, RejectedObject } from '#mesh/model/view.ts'

export const emptyCluster: OwnCluster = {
  services: new Map(),
  endpoints: new Map(),
  pods: new Map(),
  exports: new Map(),
  refused: new Set(),
  imports: new Map(),
  externalNames: new Set(),
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
 * `changes` saves work where nothing else became of the objects that `before` was made from: then `objects` is not asked
 * where only slices, pods and nodes changed, as they do with every rolling update.
 */
export function ownClusterOf(
  objects: readonly PlacedObject[] | (() => readonly PlacedObject[]),
  home: HomePlace,
  before = emptyCluster,
  changes?: readonly Change[],
  unread = nothingUnread,
): OwnCluster {
  const known = sortedAt.get(before)
  const isKnown = unread.files === (before.unreadFiles ?? 0)
  const moved = known && changes && isKnown ? withChanges(known, changes) : undefined
  const sorted = moved?.sorted ?? sortByKind(typeof objects === 'function' ? objects() : objects)
  const next = moved
    ? { ...before, pods: podsAgain(moved.pods, before.pods), endpoints: endpointsAgain(moved, home, before.endpoints) }
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
    endpoints: allEndpoints(sorted, home, before.endpoints, sortedAt.get(before)),
    pods: sharedMap(
      mapped(sorted.pods, ({ pod }) => pod),
      before.pods,
    ),
    exports: sharedMap(sorted.exports, before.exports),
    refused: isDeepStrictEqual(sorted.refused, before.refused) ? before.refused : sorted.refused,
    imports: sharedMap(sorted.imports, before.imports ?? new Map()),
    externalNames: isDeepStrictEqual(sorted.externalNames, before.externalNames)
      ? (before.externalNames ?? sorted.externalNames)
      : sorted.externalNames,
    peerAuthentications: sharedList(sorted.policies, before.peerAuthentications),
    gateways: sharedList(gatewaysOf(sorted, home), before.gateways ?? []),
    trafficObjects: sharedList(trafficObjectsOf(sorted, unread), before.trafficObjects ?? []),
    unreadFiles: unread.files,
  }
}

/** The objects that each value was last made from. */
const sortedAt = new WeakMap<OwnCluster, Sorted>()

function podsAgain(changed: Moved['pods'], before: OwnCluster['pods']): OwnCluster['pods'] {
  const news = new Map<string, Pod | undefined>()
  for (const [key, object] of changed) {
    const old = before.get(key)
    const now = object && same(object.pod, old)
    if (now !== old) news.set(key, now)
  }
  return patched(before, news)
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

/** Of each Service its endpoints; `known` is what the endpoints before were made from. */
function allEndpoints(sorted: Sorted, home: HomePlace, before: Endpoints, known: Sorted | undefined): Endpoints {
  const again = known !== undefined && isSameMap(sorted.pods, known.pods) && isSameMap(sorted.nodes, known.nodes)
  const { of } = endpointsBy(sorted, home, before, again)
  const found = mapped(sorted.services, of)
  return isSameMap(found, before) ? before : found
}

/** The same where only those of some services may be others. */
function endpointsAgain({ sorted, services }: Moved, home: HomePlace, before: Endpoints): Endpoints {
  if (services.size === 0) return before
  const { of } = endpointsBy(sorted, home, before, false)
  const next = new Map(before)
  for (const key of services) {
    const service = sorted.services.get(key)
    if (service) next.set(key, of(service))
  }
  return isSameMap(next, before) ? before : next
}

/** `again`: the pods and nodes are those with which the endpoints before were made. */
function endpointsBy(sorted: Sorted, home: HomePlace, before: Endpoints, again: boolean) {
  const { pods, nodes, namespaceNetworks } = sorted
  const networks = JSON.stringify([home, ...namespaceNetworks])
  return {
    of: ({ key, clusterIps: [clusterIp] }: Service): readonly Endpoint[] => {
      const slices = (sorted.slices.get(key) ?? []).map(({ slice }) => slice)
      const old = before.get(key) ?? []
      const inputs = [networks, clusterIp, ...slices]
      if (again && isSameList(inputs, madeFrom.get(old))) return old
      const facts = { home, pods, nodes, namespaceNetworks }
      const found = endpointsOf(slices, { ...facts, ...(clusterIp ? { clusterIp } : {}) })
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
  let old: Map<string, Endpoint> | undefined
  const shared = next.map((endpoint, index) => {
    if (endpoint === before[index]) return endpoint
    old ??= new Map(before.map((one) => [one.address, one]))
    return same(endpoint, old.get(endpoint.address))
  })
  return isSameList(shared, before) ? before : shared
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
