import type { KubeObject, Place, SliceEndpoint } from '#gateway/watch/kube-object.ts'
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
  /** Where nodes say that they are, by name. */
  readonly nodes: ReadonlyMap<string, Place>
  /** Networks that namespaces are labelled with. */
  readonly namespaceNetworks: ReadonlyMap<string, NetworkName>
  /** The Service's first address, where it has one. */
  readonly clusterIp?: string
}

/**
 * The endpoints of one service from all its slices, sorted by address. Slices that share an address (a named target
 * port with several numbers) are one endpoint with the ports of all. A pod with addresses of both families counts once,
 * in the family of its Service. Identity, mesh and network come from the pod: one that is not known is not meshed. The
 * region is that of the pod's node, or else the cluster's; the zone that of the slice, or else the node's.
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

/** What an endpoint was made from, and what it became: of five thousand behind one service one changes. */
type Made = {
  readonly slice: Slice
  readonly pod: PodObject | undefined
  readonly place: Place | undefined
  readonly home: HomePlace
  readonly network: NetworkName
  readonly endpoint: Endpoint
}
const made = new WeakMap<SliceEndpoint, Made>()

function endpointOf(
  said: SliceEndpoint,
  slice: Slice,
  { home, pods, nodes, namespaceNetworks }: EndpointFacts,
): Endpoint {
  const pod = pods.get(said.pod)
  const place = nodes.get(pod?.pod.node ?? '')
  const namespace = pod?.pod.namespace ?? ''
  // Istio labels its system namespace to name the network of a whole cluster.
  const labelled =
    pod?.network ??
    (namespaceNetworks.size === 0
      ? undefined
      : (namespaceNetworks.get(namespace) ?? namespaceNetworks.get('istio-system')))
  const network = labelled ?? home.network
  const old = made.get(said)
  if (
    old &&
    old.slice === slice &&
    old.pod === pod &&
    old.place === place &&
    old.home === home &&
    old.network === network
  )
    return old.endpoint
  const endpoint: Endpoint = {
    address: said.address,
    ports: slice.ports,
    health: healthOf(said),
    locality: { region: place?.region || home.region, zone: said.zone || (place?.zone ?? '') },
    network,
    pod: said.pod,
    serviceAccount: pod?.pod.serviceAccount ?? '',
    meshed: pod?.pod.meshed ?? false,
    ...(said.hostname ? { hostname: said.hostname } : {}),
  }
  made.set(said, { slice, pod, place, home, network, endpoint })
  return endpoint
}

/** A terminating pod drains while it serves, whatever `ready` says. Source: Kubernetes, EndpointSlice conditions. */
function healthOf({ ready, serving, terminating }: SliceEndpoint): Health {
  if (terminating) return serving ? 'draining' : 'not-ready'
  return ready ? 'ready' : 'not-ready'
}

const order: readonly Health[] = ['ready', 'draining', 'not-ready']
const worse = (a: Health, b: Health): Health => (order.indexOf(a) > order.indexOf(b) ? a : b)

function onePerPod(endpoints: readonly Endpoint[], clusterIp: string | undefined): readonly Endpoint[] {
  const wantsV4 = clusterIp === undefined || isV4(clusterIp)
  const isWanted = ({ address }: Endpoint): boolean => isV4(address) === wantsV4
  if (endpoints.every(isWanted)) return endpoints
  const served = new Set(endpoints.filter(isWanted).map((endpoint) => endpoint.pod))
  return endpoints.filter((e) => e.pod === '' || isWanted(e) || !served.has(e.pod))
}

/** Of what is known to be an address. */
const isV4 = (address: string): boolean => !address.includes(':')
