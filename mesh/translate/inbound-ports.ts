import type { ExportedService } from '#mesh/model/cluster-config.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { MutualTlsMode } from '#mesh/model/pod.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import { isHttp, type Protocol } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import { compareText, isAddress } from '#mesh/translate/encode.ts'
import type { Memo } from '#mesh/translate/memo.ts'
import { mutualTlsModeOf } from '#mesh/translate/peer-authentication.ts'
import { deniedOf, foreignAnchorsOf, ownCutOf, ownTrustDomains } from '#mesh/translate/trust.ts'

/** One port at which a pod is called, whatever the number of services that lead there. */
export type InboundPort = {
  /** The port on the pod. */
  readonly port: number
  /** Of the first service by key: two services cannot make one port speak two protocols. */
  readonly protocol: Protocol
  readonly service: ServiceKey
  /** The pod's address, as the service's endpoints have it. */
  readonly address: string
  readonly mode: MutualTlsMode
  /**
   * Trust domains whose workloads may connect, sorted: the own, and those that an export behind this port admits, those
   * of other meshes too.
   */
  readonly admitted: readonly string[]
  /** Ids of these domains that nobody admits any more, sorted. */
  readonly denied: readonly string[]
  /** The latest revocation that ends what is open here; 0 = none ever. */
  readonly cut: number
}

/**
 * What a listener may know of a port: whom it admits changes too often to stand there. `denied`: only where there are no
 * requests to refuse, so at stream ports.
 */
export type InboundShape = Omit<InboundPort, 'admitted'>

export const shapeOf = ({ admitted: _, denied, ...shape }: InboundPort): InboundShape => ({
  ...shape,
  denied: isHttp(shape.protocol) ? [] : denied,
})

/** The services behind which each pod stands. */
export const behindPods = (view: View, memo: Memo): Behind =>
  memo.keep<Behind>('pods', [view.own.endpoints], (before) => byPod(view.own.endpoints, before))

export const podPlaceOf = ({ namespace, pod }: MeshProxy): string => `${namespace}/${pod}`

/** The services behind which a proxy's own pod stands, by key; `place` is its `podPlaceOf`. */
export function membersOf(proxy: MeshProxy, place: string, { pods }: Behind): readonly Member[] {
  const named = pods.get(place)
  return named ?? proxy.ips.map((ip) => pods.get(`ip ${ip}`)).find((found) => found !== undefined) ?? nowhere
}

const nowhere: readonly Member[] = []

/** Trust domains of other meshes that an export admits, as far as their roots are known here. */
export function foreignOf(view: View, exported: ExportedService | undefined): readonly string[] {
  if (!exported?.foreign) return []
  const anchors = foreignAnchorsOf(view)
  return exported.foreign.filter((domain) => Object.hasOwn(anchors, domain))
}

/** What `inboundPortsOf` and `restModeOf` read of the view: to be among the inputs of whatever is kept of them. */
export function inboundInputs(
  view: View,
  proxy: MeshProxy,
  { members, memo }: { readonly members: readonly Member[]; readonly memo: Memo },
): readonly unknown[] {
  const { own, config } = view
  const behind = members.flatMap(({ key, endpoint }) => {
    const exported = config?.exports.get(key)
    const kept = memo.data(`exported ${key}`, [exported], () => exported)
    return [endpoint, own.services.get(key), own.exports.has(key), kept]
  })
  return [own.peerAuthentications, own.pods.get(`${proxy.namespace}/${proxy.pod}`), ...behind]
}

/** The ports at which a proxy's own pod is called, sorted. A pod behind no service has none. */
export function inboundPortsOf(view: View, proxy: MeshProxy, members: readonly Member[]): readonly InboundPort[] {
  const ports = new Map<number, InboundPort>()
  for (const member of members) {
    for (const port of view.own.services.get(member.key)?.ports ?? []) {
      const number = member.endpoint.ports[port.name]
      if (number === undefined || !isAddress(member.endpoint.address)) continue
      const before = ports.get(number)
      const exported = exportedAt(view, member.key, port.port)
      const others = [...(exported?.admitted ?? []), ...foreignOf(view, exported)]
      const admitted = new Set([...(before?.admitted ?? ownTrustDomains(view)), ...others])
      const denied = deniedOf(view, [...admitted])
      ports.set(number, {
        ...(before ?? {
          port: number,
          protocol: port.protocol,
          service: member.key,
          address: member.endpoint.address,
          mode: modeOf(view, proxy, number),
        }),
        admitted: [...admitted].sort(),
        denied: denied.map(({ id }) => id),
        cut: Math.max(before?.cut ?? ownCutOf(view), exported?.cut ?? 0, ...denied.map(({ cut }) => cut)),
      })
    }
  }
  return [...ports.values()].toSorted((a, b) => a.port - b.port)
}

/** The export that lets others in at a port: both the centre's word and the own cluster's must stand. */
function exportedAt(view: View, key: ServiceKey, port: number): ExportedService | undefined {
  const exported = view.own.exports.has(key) ? view.config?.exports.get(key) : undefined
  return exported?.ports.some((p) => p.port === port) ? exported : undefined
}

/** What the pod's ports behind no service take. */
export const restModeOf = (view: View, proxy: MeshProxy): MutualTlsMode => modeOf(view, proxy, undefined)

function modeOf(view: View, proxy: MeshProxy, port: number | undefined): MutualTlsMode {
  const labels = view.own.pods.get(`${proxy.namespace}/${proxy.pod}`)?.labels ?? proxy.labels
  return mutualTlsModeOf(view.own.peerAuthentications, { namespace: proxy.namespace, labels }, port)
}

export type Member = { readonly key: ServiceKey; readonly endpoint: Endpoint }

/** By `<namespace>/<pod>`, or by address where a slice names no pod; and the endpoints that it was read from. */
export type Behind = {
  readonly endpoints: ReadonlyMap<ServiceKey, readonly Endpoint[]>
  readonly pods: ReadonlyMap<string, readonly Member[]>
}

/** A pod for which nothing changed has the same list as before; only services with other endpoints are looked at. */
function byPod(endpoints: Behind['endpoints'], before: Behind | undefined): Behind {
  const changed = [...new Set([...(before?.endpoints.keys() ?? []), ...endpoints.keys()])]
    .filter((key) => endpoints.get(key) !== before?.endpoints.get(key))
    .sort(compareText)
  const fresh = new Map<string, Member[]>()
  for (const key of changed) {
    for (const endpoint of before?.endpoints.get(key) ?? []) fresh.set(placeOf(endpoint), [])
  }
  for (const key of changed) {
    for (const endpoint of byAddress(endpoints.get(key) ?? [])) {
      const place = placeOf(endpoint)
      const members = fresh.get(place)
      if (members) members.push({ key, endpoint })
      else fresh.set(place, [{ key, endpoint }])
    }
  }
  const isChanged = new Set(changed)
  const pods = new Map(before?.pods)
  for (const [place, members] of fresh) {
    const old = pods.get(place) ?? nowhere
    const all = [...old.filter(({ key }) => !isChanged.has(key)), ...members]
    const next = all.toSorted((a, b) => compareText(a.key, b.key))
    if (next.length === 0) pods.delete(place)
    else if (!isSame(next, old)) pods.set(place, next)
  }
  return { endpoints, pods }
}

const placeOf = ({ pod, address }: Endpoint): string => (pod === '' ? `ip ${address}` : pod)

const sortedLists = new WeakMap<readonly Endpoint[], readonly Endpoint[]>()

function byAddress(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const known = sortedLists.get(endpoints)
  if (known) return known
  const sorted = endpoints.toSorted((a, b) => compareText(a.address, b.address))
  sortedLists.set(endpoints, sorted)
  return sorted
}

const isSame = (a: readonly Member[], b: readonly Member[]): boolean =>
  a.length === b.length && a.every(({ key, endpoint }, at) => b[at]?.key === key && b[at]?.endpoint === endpoint)
