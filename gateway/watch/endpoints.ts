import { isIPv4 } from 'node:net'
import type { KubeObject, SliceEndpoint } from '#gateway/watch/kube-object.ts'
import type { Endpoint, Health } from '#mesh/model/endpoint.ts'
import type { NetworkName } from '#mesh/model/id.ts'

export type Slice = Extract<KubeObject, { kind: 'EndpointSlice' }>
export type PodObject = Extract<KubeObject, { kind: 'Pod' }>

/** Where a relay's cluster is, as its settings say; labels may say otherwise of single pods. */
export type HomePlace = { readonly network: NetworkName; readonly region: string }

export type EndpointFacts = {
  readonly home: HomePlace
  /** Pods by `<namespace>/<pod>`. */
  readonly pods: ReadonlyMap<string, PodObject>
  /** Networks that namespaces are labelled with. */
  readonly namespaceNetworks: ReadonlyMap<string, NetworkName>
  /** The Service's first address, where it has one. */
  readonly clusterIp?: string
}

/**
 * The endpoints of one service from all its slices, sorted by address. Slices that share an address (a named target
 * port with several numbers) are one endpoint with the ports of all. A pod with addresses of both families counts once,
 * in the family of its Service. Identity, mesh and network come from the pod: one that is not known is not meshed.
 */
export function endpointsOf(slices: readonly Slice[], facts: EndpointFacts): Endpoint[] {
  const byAddress = new Map<string, Endpoint>()
  for (const slice of slices)
    for (const said of slice.endpoints) {
      const old = byAddress.get(said.address)
      const next = endpointOf(said, slice, facts)
      byAddress.set(
        said.address,
        old
          ? { ...old, ...next, health: worse(old.health, next.health), ports: { ...old.ports, ...next.ports } }
          : next,
      )
    }
  return onePerPod([...byAddress.values()], facts.clusterIp).toSorted((a, b) => (a.address < b.address ? -1 : 1))
}

function endpointOf(said: SliceEndpoint, slice: Slice, { home, pods, namespaceNetworks }: EndpointFacts): Endpoint {
  const object = pods.get(said.pod)
  const namespace = object?.pod.namespace ?? ''
  // Istio labels its system namespace to name the network of a whole cluster.
  const network = object?.network ?? namespaceNetworks.get(namespace) ?? namespaceNetworks.get('istio-system')
  return {
    address: said.address,
    ports: slice.ports,
    health: healthOf(said),
    locality: { region: home.region, zone: said.zone },
    network: network ?? home.network,
    pod: said.pod,
    serviceAccount: object?.pod.serviceAccount ?? '',
    meshed: object?.pod.meshed ?? false,
    ...(said.hostname ? { hostname: said.hostname } : {}),
  }
}

/** A terminating pod drains while it serves, whatever `ready` says. Source: Kubernetes, EndpointSlice conditions. */
function healthOf({ ready, serving, terminating }: SliceEndpoint): Health {
  if (terminating) return serving ? 'draining' : 'not-ready'
  return ready ? 'ready' : 'not-ready'
}

const order: readonly Health[] = ['ready', 'draining', 'not-ready']
const worse = (a: Health, b: Health): Health => (order.indexOf(a) > order.indexOf(b) ? a : b)

function onePerPod(endpoints: readonly Endpoint[], clusterIp: string | undefined): Endpoint[] {
  const wantsV4 = clusterIp === undefined || isIPv4(clusterIp)
  const isWanted = (endpoint: Endpoint): boolean => isIPv4(endpoint.address) === wantsV4
  const served = new Set(endpoints.filter(isWanted).map((endpoint) => endpoint.pod))
  return endpoints.filter((e) => e.pod === '' || isWanted(e) || !served.has(e.pod))
}
