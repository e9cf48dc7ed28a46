import type { PodObject, Slice } from '#gateway/watch/endpoints.ts'
import type { GatewayService } from '#gateway/watch/gateway-service.ts'
import type { Place } from '#gateway/watch/kube-object.ts'
import type { PlacedObject } from '#gateway/watch/parse-file.ts'
import type { NetworkName, ServiceKey } from '#mesh/model/id.ts'
import type { PeerAuthentication } from '#mesh/model/pod.ts'
import type { Service } from '#mesh/model/service.ts'
import type { OwnExport, OwnImport, OwnPolicyObject } from '#mesh/model/view.ts'

/** Its place in the order decides where two slices say different things of one address. */
type PlacedSlice = { readonly id: string; readonly slice: Slice }

/** The objects of a cluster by kind, each list in order of their ids. */
export type Sorted = {
  readonly services: Map<ServiceKey, Service>
  readonly slices: Map<ServiceKey, PlacedSlice[]>
  readonly pods: Map<string, PodObject>
  readonly nodes: Map<string, Place>
  readonly exports: Map<ServiceKey, OwnExport>
  readonly refused: Set<ServiceKey>
  readonly imports: Map<ServiceKey, OwnImport>
  readonly externalNames: Set<ServiceKey>
  readonly policies: PeerAuthentication[]
  readonly namespaceNetworks: Map<string, NetworkName>
  readonly gateways: GatewayService[]
  readonly trafficObjects: OwnPolicyObject[]
}

export function sortByKind(objects: readonly PlacedObject[]): Sorted {
  const sorted: Sorted = {
    services: new Map(),
    slices: new Map(),
    pods: new Map(),
    nodes: new Map(),
    exports: new Map(),
    refused: new Set(),
    imports: new Map(),
    externalNames: new Set(),
    policies: [],
    namespaceNetworks: new Map(),
    gateways: [],
    trafficObjects: [],
  }
  for (const placed of objects) sortIn(sorted, placed)
  return sorted
}

function sortIn(sorted: Sorted, { id, object, at }: PlacedObject): void {
  switch (object.kind) {
    case 'Service': {
      const { kind: _, gateway, ...service } = object
      if (gateway) sorted.gateways.push(gateway)
      sorted.services.set(object.key, { ...service, origin: at })
      return
    }
    case 'EndpointSlice': {
      const slices = sorted.slices.get(object.service)
      if (slices) slices.push({ id, slice: object })
      else sorted.slices.set(object.service, [{ id, slice: object }])
      return
    }
    case 'Pod':
      sorted.pods.set(podKey(object), object)
      return
    case 'Node':
      sorted.nodes.set(object.name, object)
      return
    case 'ServiceExport': {
      const { kind: _, ...exported } = object
      sorted.exports.set(object.key, { ...exported, origin: at })
      return
    }
    case 'ServiceImport':
      if (!object.accept) sorted.refused.add(object.key)
      if (object.addresses) sorted.imports.set(object.key, object.addresses)
      return
    case 'ExternalName':
      sorted.externalNames.add(object.key)
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

/** One object that came, went or took another's place. */
export type Change = { readonly old?: PlacedObject; readonly now?: PlacedObject }

export type Moved = {
  readonly sorted: Sorted
  /** The services whose endpoints may be others. */
  readonly services: ReadonlySet<ServiceKey>
  /** By `<namespace>/<pod>`; undefined: gone. */
  readonly pods: ReadonlyMap<string, PodObject | undefined>
}

/** The same objects but for these; undefined where any but slices, pods and nodes is among them. */
export function withChanges(sorted: Sorted, changes: readonly Change[]): Moved | undefined {
  const services = new Set<ServiceKey>()
  const pods = new Map<string, PodObject | undefined>()
  const nodes = new Map<string, Place | undefined>()
  const slices = new Map<ServiceKey, PlacedSlice[]>()
  const slicesOf = (service: ServiceKey): PlacedSlice[] =>
    slices.get(service) ?? [...(sorted.slices.get(service) ?? [])]
  for (const { old, now } of changes) {
    const [was, is] = [old?.object, now?.object]
    for (const object of [was, is]) {
      if (object === undefined) continue
      if (object.kind === 'Pod') pods.set(podKey(object), is === object ? object : undefined)
      else if (object.kind === 'Node') nodes.set(object.name, is === object ? object : undefined)
      else if (object.kind === 'EndpointSlice') {
        const others = slicesOf(object.service).filter(({ slice }) => slice !== was)
        const { id } = (now ?? old) as PlacedObject
        slices.set(object.service, object === is ? inOrder([...others, { id, slice: object }]) : others)
        services.add(object.service)
      } else return undefined
    }
  }
  const next = {
    ...sorted,
    slices: patched(sorted.slices, slices),
    pods: patched(sorted.pods, pods),
    nodes: patched(sorted.nodes, nodes),
  }
  const isTouched = ({ pod }: { readonly pod: string }): boolean =>
    pods.has(pod) || nodes.has(next.pods.get(pod)?.pod.node ?? '')
  if (pods.size + nodes.size > 0)
    for (const [service, all] of next.slices)
      if (!services.has(service) && all.some(({ slice }) => slice.endpoints.some(isTouched))) services.add(service)
  return { sorted: next, services, pods }
}

const inOrder = (slices: readonly PlacedSlice[]): PlacedSlice[] => slices.toSorted((a, b) => (a.id < b.id ? -1 : 1))
const podKey = ({ pod }: PodObject): string => `${pod.namespace}/${pod.name}`

/** Itself where there is nothing to put in. */
export function patched<K, V, M extends ReadonlyMap<K, V>>(
  map: M & ReadonlyMap<K, V>,
  changes: ReadonlyMap<K, V | undefined>,
): M | Map<K, V> {
  if (changes.size === 0) return map
  const next = new Map(map)
  for (const [key, value] of changes) {
    if (value === undefined) next.delete(key)
    else next.set(key, value)
  }
  return next
}
