import type { PortCut } from '#mesh/model/cluster-config.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import { type ResourceSet, typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import { isHttp } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import { type Callable, callablesOf } from '#mesh/translate/callable.ts'
import { assignmentOf, placesOf } from '#mesh/translate/endpoints.ts'
import { type Behind, behindPods, type Member, membersOf, podPlaceOf } from '#mesh/translate/inbound-ports.ts'
import { type InboundTrust, inboundSet, inboundShared, inboundTrust } from '#mesh/translate/inbound-set.ts'
import type { Memo } from '#mesh/translate/memo.ts'
import { viewOfPod } from '#mesh/translate/one-pod.ts'
import { chosenAddressClusterOf, outboundClusterOf } from '#mesh/translate/outbound-clusters.ts'
import { plainHttpListener, plainTcpAddressOf, plainTcpListener } from '#mesh/translate/outbound-listeners.ts'
import { outboundRoutesOf, type Unknown } from '#mesh/translate/outbound-routes.ts'
import { ownPodInputs, ownPodsOf } from '#mesh/translate/own-pods.ts'
import {
  baseClusters,
  redirectedHttpListener,
  redirectedTcpListener,
  virtualOutbound,
} from '#mesh/translate/redirect.ts'
import { joined, named, type ResourceMap } from '#mesh/translate/resource-maps.ts'
import { tierInputs } from '#mesh/translate/tiers.ts'
import { rootsName } from '#mesh/translate/tls.ts'
import { deniedOf, ownTrustDomains, rootsOf } from '#mesh/translate/trust.ts'
import { validationSecret } from '#mesh/translate/validation.ts'

/**
 * What a sidecar is served: all that its cluster may call, and what is called in its own pod. A view that changed nothing
 * but endpoints costs a proxy next to nothing: there may be a thousand of them.
 */
export function sidecar(proxy: MeshProxy, memo: Memo): (view: View) => ResourceSet {
  const kind = `sidecars ${proxy.namespace} ${proxy.plain?.outbound ?? proxy.interception}`
  const place = podPlaceOf(proxy)
  let own:
    | { readonly set: OwnSet; readonly alike: Alike; readonly members: readonly Member[]; readonly swept: number }
    | undefined
  let all: ResourceSet | undefined
  return (view) => {
    const { alike, behind, endpoints } = memo.keep(kind, [view], () => sharedBy(view, proxy, kind, memo))
    const members = membersOf(proxy, place, behind)
    if (own?.alike !== alike || own?.members !== members || own?.swept !== memo.sweeps()) {
      const set = memo.keepFor(proxy, [alike, members], () => ownSet(view, proxy, { alike, members, memo }))
      own = { set, alike, members, swept: memo.sweeps() }
      all = undefined
    }
    if (all?.[typeUrls.endpoint] !== endpoints) all = { ...own.set, [typeUrls.endpoint]: endpoints }
    return all
  }
}

/** What all sidecars of one kind share. `alike` stays the same object until something else than endpoints changes. */
type Shared = {
  readonly alike: Alike
  readonly behind: Behind
  readonly endpoints: ResourceMap
}

type Alike = {
  readonly clusters: readonly XdsResource[]
  readonly listeners: readonly XdsResource[]
  readonly routes: readonly XdsResource[]
  readonly secrets: readonly XdsResource[]
  readonly trust: InboundTrust
}

function sharedBy(view: View, proxy: MeshProxy, kind: string, memo: Memo): Shared {
  const shared = memo.keep('shared', [view], () => {
    const callables = callablesOf(view, memo)
    return {
      callables,
      endpoints: named(memo, 'endpoints', outboundEndpoints(view, callables, memo)),
      secrets: outboundSecrets(view, memo),
      trust: inboundTrust(view, memo),
      behind: behindPods(view, memo),
    }
  })
  const unknown: Unknown = proxy.plain ? 'refuse' : 'pass'
  const { callables, clusters, podListeners } = memo.keep(`shared ${unknown}`, [view], () => {
    const mine = proxy.plain ? shared.callables : chosenByAddress(shared.callables, memo)
    return {
      callables: mine,
      clusters: outboundClusters(view, mine, { unknown, memo }),
      podListeners: proxy.plain ? [] : headlessListeners(view, mine, memo),
    }
  })
  const routes = memo.keep(`shared routes ${proxy.namespace} ${unknown}`, [callables], () =>
    outboundRoutes(callables, { namespace: proxy.namespace, unknown }, memo),
  )
  const cuts = memo.data('http cuts', [view.config?.trust], () => view.config?.trust.cuts ?? [])
  const listeners = proxy.plain
    ? plainListeners(proxy, { callables, cuts }, memo)
    : redirectedListeners(proxy, { callables, podListeners, cuts }, memo)
  const { secrets, trust, behind, endpoints } = shared
  const inputs = [clusters, listeners, routes, secrets, ...inboundShared(view, trust)]
  const alike = memo.keep<Alike>(`alike ${kind}`, inputs, (before) => {
    if (before) memo.replaced()
    return { clusters, listeners, routes, secrets, trust }
  })
  return { alike, behind, endpoints }
}

type OwnSet = Omit<ResourceSet, typeof typeUrls.endpoint>

function ownSet(
  view: View,
  proxy: MeshProxy,
  { alike, members, memo }: { readonly alike: Alike; readonly members: readonly Member[]; readonly memo: Memo },
): OwnSet {
  const unknown: Unknown = proxy.plain ? 'refuse' : 'pass'
  const { clusters, listeners, routes, secrets, trust } = alike
  const inbound = inboundSet(view, proxy, { members, trust, memo })
  const ownClusters = proxy.plain ? inbound.clusters : [...baseClusters, ...inbound.clusters]
  return {
    [typeUrls.cluster]: joined(memo, `clusters ${unknown}`, clusters, ownClusters),
    [typeUrls.listener]: joined(memo, `listeners ${proxy.plain?.outbound ?? ''}`, listeners, inbound.listeners),
    [typeUrls.route]: joined(memo, `routes ${proxy.namespace} ${unknown}`, routes, inbound.routes),
    [typeUrls.secret]: joined(memo, 'secrets', secrets, inbound.secrets),
  }
}

/** Where traffic is redirected an own headless pod is told by its address: names of single pods would only repeat it. */
function chosenByAddress(callables: readonly Callable[], memo: Memo): readonly Callable[] {
  const isOwnPod = (c: Callable): boolean => c.hostname !== undefined && c.road === undefined
  if (!callables.some(isOwnPod)) return callables
  return memo.list('chosen by address', [callables], () => callables.filter((c) => !isOwnPod(c)))
}

function outboundClusters(
  view: View,
  callables: readonly Callable[],
  { unknown, memo }: { readonly unknown: Unknown; readonly memo: Memo },
): readonly XdsResource[] {
  const { home } = view
  const domains = ownTrustDomains(view)
  const own = JSON.stringify([domains, deniedOf(view, domains).map(({ id }) => id)])
  return memo.each(`outbound clusters ${unknown}`, callables, {
    shared: [own, home.cluster],
    inputs: ({ key }) => ownPodInputs(view, key),
    build: (callable) => {
      const ownView = viewOfPod(view, callable)
      const isChosen = callable.headless === true && unknown === 'pass'
      return isChosen ? chosenAddressClusterOf(ownView, callable) : outboundClusterOf(ownView, callable)
    },
  })
}

/** A stream to a headless service is known by its pod's address alone, at the port where the pod listens. */
function headlessListeners(view: View, callables: readonly Callable[], memo: Memo): readonly XdsResource[] {
  const all = streams(callables)
    .filter((callable) => callable.headless)
    .flatMap((callable) => {
      const id = idOf(callable)
      const pods = memo.data(`pods to dial ${id}`, [callable, ...ownPodInputs(view, callable.key)], () =>
        ownPodsOf(view, callable.key, callable.port)
          .filter(({ endpoint }) => endpoint.health !== 'not-ready')
          .map(({ endpoint, port }) => ({ address: endpoint.address, port })),
      )
      return pods.map(({ address, port }) =>
        memo.resource(`tcp ${address}:${port} ${id}`, [callable], () => redirectedTcpListener(address, callable, port)),
      )
    })
  return memo.list('headless listeners', [all], () => all)
}

function outboundSecrets(view: View, memo: Memo): readonly XdsResource[] {
  const roots = rootsOf(view)
  return memo.list('outbound secrets', [roots], () =>
    roots === undefined ? [] : [validationSecret({ name: rootsName }, { roots, names: [] })],
  )
}

function outboundEndpoints(view: View, callables: readonly Callable[], memo: Memo): readonly XdsResource[] {
  const { home } = view
  return memo.each('outbound endpoints', callables, {
    shared: [home.cluster, home.network],
    inputs: ({ key, road, port }) => [
      ...ownPodInputs(view, key),
      ...(road === undefined ? [] : tierInputs(view, road, port)),
    ],
    build: (callable) => assignmentOf(callable, placesOf(viewOfPod(view, callable), callable)),
  })
}

function outboundRoutes(
  callables: readonly Callable[],
  facts: { readonly namespace: string; readonly unknown: Unknown },
  memo: Memo,
): readonly XdsResource[] {
  const key = `${facts.namespace} ${facts.unknown}`
  const all = [...httpPorts(callables, facts.unknown, memo)].map(([port, members]) =>
    memo.resource(`routes ${key} ${port}`, [members], () => outboundRoutesOf(port, members, facts)),
  )
  return memo.list(`outbound routes ${key}`, [all], () => all)
}

function plainListeners(
  proxy: MeshProxy,
  { callables, cuts }: { readonly callables: readonly Callable[]; readonly cuts: readonly PortCut[] },
  memo: Memo,
): readonly XdsResource[] {
  const { plain } = proxy
  if (plain === undefined) return []
  return memo.list(`plain listeners ${plain.outbound}`, [callables, plain, cuts], () => {
    const http = [...httpPorts(callables, 'refuse', memo).keys()].map((port) => {
      const cut = cutAt(cuts, port)
      return memo.resource(`http ${plain.outbound} ${port} ${cut}`, [], () => plainHttpListener(plain, port, cut))
    })
    const tcp = streams(callables).flatMap((callable) => {
      const address = plainTcpAddressOf(plain, callable)
      if (address === undefined) return []
      return [memo.resource(`tcp ${address} ${idOf(callable)}`, [callable], () => plainTcpListener(address, callable))]
    })
    return [...http, ...tcp]
  })
}

function redirectedListeners(
  proxy: MeshProxy,
  {
    callables,
    podListeners,
    cuts,
  }: { callables: readonly Callable[]; podListeners: readonly XdsResource[]; cuts: readonly PortCut[] },
  memo: Memo,
): readonly XdsResource[] {
  const transparent = proxy.interception === 'TPROXY'
  return memo.list(`redirected listeners ${transparent}`, [callables, podListeners, cuts], () => {
    const catchAll = memo.resource(`virtual outbound ${transparent}`, [], () => virtualOutbound(transparent))
    const http = [...httpPorts(callables, 'pass', memo).keys()].map((port) => {
      const cut = cutAt(cuts, port)
      return memo.resource(`http 0.0.0.0 ${port} ${cut}`, [], () => redirectedHttpListener(port, cut))
    })
    const tcp = streams(callables).flatMap((callable) =>
      callable.clusterIps.map((address) =>
        memo.resource(`tcp ${address} ${idOf(callable)}`, [callable], () => redirectedTcpListener(address, callable)),
      ),
    )
    return [catchAll, ...http, ...tcp, ...podListeners]
  })
}

const cutAt = (cuts: readonly PortCut[], port: number): number => cuts.find((one) => one.port === port)?.cut ?? 0

const streams = (callables: readonly Callable[]): readonly Callable[] =>
  callables.filter((c) => !isHttp(c.port.protocol))

/** The HTTP callables by port, both sorted; a port whose callables did not change keeps its list. */
function httpPorts(
  callables: readonly Callable[],
  unknown: Unknown,
  memo: Memo,
): ReadonlyMap<number, readonly Callable[]> {
  return memo.keep(`http ports ${unknown}`, [callables], () => {
    const byPort = Map.groupBy(
      callables.filter((c) => isHttp(c.port.protocol)),
      (c) => c.port.port,
    )
    return new Map(
      [...byPort]
        .toSorted(([a], [b]) => a - b)
        .map(([port, members]) => [port, memo.list(`http port ${unknown} ${port}`, [members], () => members)]),
    )
  })
}

const idOf = (callable: Callable): string => `${callable.host}:${callable.port.port}`
