import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import { type ResourceSet, typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import { isHttp } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import { type Callable, callablesOf } from '#mesh/translate/callable.ts'
import { compareText } from '#mesh/translate/encode.ts'
import { assignmentAtGateway, assignmentOf } from '#mesh/translate/endpoints.ts'
import { inboundRoutes, plainInboundCluster, plainInboundListener } from '#mesh/translate/inbound.ts'
import { inboundPortsOf } from '#mesh/translate/inbound-ports.ts'
import { createMemo, type Memo } from '#mesh/translate/memo.ts'
import { outboundClusterOf, ownFactsOf } from '#mesh/translate/outbound-clusters.ts'
import { plainHttpListener, plainTcpAddressOf, plainTcpListener } from '#mesh/translate/outbound-listeners.ts'
import { outboundRoutesOf, type Unknown } from '#mesh/translate/outbound-routes.ts'
import { ownPodInputs, ownPodsOf } from '#mesh/translate/own-pods.ts'
import { gatewayBindOf, gatewayCluster, gatewayListener, openPortsOf } from '#mesh/translate/router.ts'
import { tierInputs } from '#mesh/translate/tiers.ts'
import { rootsOf } from '#mesh/translate/trust.ts'

export type Translator = {
  /**
   * All that one proxy is to be served. Pure in its answer: equal views and proxies give equal bytes, whatever the order
   * of their parts. What it remembers only saves work: unchanged inputs give the same objects, for every proxy.
   */
  readonly resourcesFor: (view: View, proxy: MeshProxy) => ResourceSet
}

/** A translator for the proxies of one cluster. It holds what it gave for the last two views. */
export function createTranslator(): Translator {
  const memo = createMemo()
  let last: View | undefined
  return {
    resourcesFor(view, proxy) {
      if (view !== last) {
        memo.sweep()
        last = view
      }
      return proxy.kind === 'router' ? routerSet(view, proxy, memo) : sidecarSet(view, proxy, memo)
    },
  }
}

function sidecarSet(view: View, proxy: MeshProxy, memo: Memo): ResourceSet {
  const shared = memo.keep('shared', [view], () => {
    const callables = callablesOf(view, memo)
    return {
      callables,
      clusters: outboundClusters(view, callables, memo),
      endpoints: named(memo, 'endpoints', outboundEndpoints(view, callables, memo)),
    }
  })
  const unknown: Unknown = proxy.interception === 'NONE' ? 'refuse' : 'pass'
  const routes = memo.keep(`shared routes ${proxy.namespace} ${unknown}`, [shared.callables], () =>
    outboundRoutes(shared.callables, { namespace: proxy.namespace, unknown }, memo),
  )
  const inbound = inboundSet(view, proxy, memo)
  const outbound = outboundListeners(proxy, shared.callables, memo)
  return {
    [typeUrls.cluster]: joined(memo, 'clusters', shared.clusters, inbound.clusters),
    [typeUrls.endpoint]: shared.endpoints,
    [typeUrls.listener]: joined(memo, `listeners ${proxy.id}`, outbound, inbound.listeners),
    [typeUrls.route]: joined(memo, `routes ${proxy.namespace} ${unknown}`, routes, inbound.routes),
  }
}

function outboundClusters(view: View, callables: readonly Callable[], memo: Memo): readonly XdsResource[] {
  const { home, config } = view
  const all = callables.map((callable) =>
    memo.resource(
      `cluster ${idOf(callable)}`,
      [
        callable,
        config?.trust,
        home.cluster,
        home.trustDomain,
        memo.keep(`own facts ${idOf(callable)}`, [callable, ...ownPodInputs(view, callable.key)], () =>
          ownFactsOf(view, callable),
        ),
      ],
      () => outboundClusterOf(view, callable),
    ),
  )
  return memo.list('outbound clusters', [all], () => all)
}

function outboundEndpoints(view: View, callables: readonly Callable[], memo: Memo): readonly XdsResource[] {
  const { home } = view
  const all = callables.map((callable) => {
    const road = callable.road === undefined ? [] : tierInputs(view, callable.road)
    return memo.resource(
      `endpoints ${idOf(callable)}`,
      [callable, home.cluster, home.network, ...ownPodInputs(view, callable.key), ...road],
      () => assignmentOf(view, callable),
    )
  })
  return memo.list('outbound endpoints', [all], () => all)
}

function outboundRoutes(
  callables: readonly Callable[],
  facts: { readonly namespace: string; readonly unknown: Unknown },
  memo: Memo,
): readonly XdsResource[] {
  const ports = httpPorts(callables, memo)
  const all = [...ports].map(([port, members]) =>
    memo.resource(`routes ${facts.namespace} ${facts.unknown} ${port}`, [members], () =>
      outboundRoutesOf(port, members, facts),
    ),
  )
  return memo.list(`outbound routes ${facts.namespace} ${facts.unknown}`, [all], () => all)
}

function outboundListeners(proxy: MeshProxy, callables: readonly Callable[], memo: Memo): readonly XdsResource[] {
  const { plain } = proxy
  if (plain === undefined) return []
  const http = [...httpPorts(callables, memo).keys()].map((port) =>
    memo.resource(`http ${plain.outbound} ${port}`, [], () => plainHttpListener(plain, port)),
  )
  const tcp = callables.flatMap((callable) => {
    const address = isHttp(callable.port.protocol) ? undefined : plainTcpAddressOf(plain, callable)
    if (address === undefined) return []
    return [memo.resource(`tcp ${address} ${idOf(callable)}`, [callable], () => plainTcpListener(address, callable))]
  })
  const all = [...http, ...tcp]
  return memo.list(`outbound listeners ${proxy.id}`, [all], () => all)
}

/** The HTTP callables by port, both sorted; a port whose callables did not change keeps its list. */
function httpPorts(callables: readonly Callable[], memo: Memo): ReadonlyMap<number, readonly Callable[]> {
  return memo.keep('http ports', [callables], () => {
    const byPort = Map.groupBy(
      callables.filter((c) => isHttp(c.port.protocol)),
      (c) => c.port.port,
    )
    return new Map(
      [...byPort]
        .toSorted(([a], [b]) => a - b)
        .map(([port, members]) => [port, memo.list(`http port ${port}`, [members], () => members)]),
    )
  })
}

type Inbound = {
  readonly clusters: readonly XdsResource[]
  readonly listeners: readonly XdsResource[]
  readonly routes: readonly XdsResource[]
}

function inboundSet(view: View, proxy: MeshProxy, memo: Memo): Inbound {
  const { plain } = proxy
  const ports = inboundPortsOf(view, proxy, memo)
  if (plain === undefined) return { clusters: [], listeners: [], routes: [] }
  const roots = rootsOf(view)
  return {
    clusters: ports.map((port) =>
      memo.resource(`inbound cluster ${plain.application} ${port.port}`, [port.protocol, port.service], () =>
        plainInboundCluster(port, plain),
      ),
    ),
    listeners: ports.map((port) =>
      memo.resource(`inbound ${port.address} ${port.port}`, [JSON.stringify(port), roots], () =>
        plainInboundListener(port, roots),
      ),
    ),
    routes: ports
      .filter((port) => isHttp(port.protocol))
      .map((port) =>
        memo.resource(`inbound routes ${port.port} ${port.protocol} ${port.service}`, [], () => inboundRoutes(port)),
      ),
  }
}

function routerSet(view: View, proxy: MeshProxy, memo: Memo): ResourceSet {
  const open = openPortsOf(view)
  const bind = gatewayBindOf(view, proxy)
  const listener = memo.resource(
    `gateway ${bind.address} ${bind.port}`,
    [open.map((port) => port.sni).join(), view.config?.trust, view.home.cluster, view.home.mesh, view.home.trustDomain],
    () => gatewayListener(view, open, bind),
  )
  const clusters = open.map((port) =>
    memo.resource(`gateway cluster ${port.sni}`, [port.key], () => gatewayCluster(port)),
  )
  const endpoints = open.map((port) =>
    memo.resource(`gateway endpoints ${port.sni}`, [port.port, ...ownPodInputs(view, port.key)], () =>
      assignmentAtGateway(port.sni, port.key, ownPodsOf(view, port.key, port.port)),
    ),
  )
  return {
    [typeUrls.cluster]: named(
      memo,
      'gateway clusters',
      memo.list('gateway clusters', [clusters], () => clusters),
    ),
    [typeUrls.endpoint]: named(
      memo,
      'gateway endpoints',
      memo.list('gateway endpoints', [endpoints], () => endpoints),
    ),
    [typeUrls.listener]: named(memo, `listeners ${proxy.id}`, [listener]),
    [typeUrls.route]: nothing,
  }
}

const nothing: ReadonlyMap<string, XdsResource> = new Map()

/** Resources by name, in the order of names; the same list gives the same map. */
function named(memo: Memo, key: string, resources: readonly XdsResource[]): ReadonlyMap<string, XdsResource> {
  const list = memo.list(`named ${key}`, [resources], () => resources)
  return memo.keep(`map ${key}`, [list], () => mapOf(list))
}

/** The same for what several proxies share and what is one proxy's own: proxies with the same own part share the map. */
function joined(
  memo: Memo,
  key: string,
  shared: readonly XdsResource[],
  own: readonly XdsResource[],
): ReadonlyMap<string, XdsResource> {
  const ownKey = `${key} ${own.map((r) => `${r.name} ${r.version}`).join()}`
  const list = memo.list(`own ${ownKey}`, [own], () => own)
  return memo.keep(`map ${ownKey}`, [shared, list], () => mapOf([...shared, ...list]))
}

/** Of two resources of one name the first stays: Envoy refuses both otherwise. */
function mapOf(resources: readonly XdsResource[]): ReadonlyMap<string, XdsResource> {
  const map = new Map<string, XdsResource>()
  for (const resource of resources.toSorted((a, b) => compareText(a.name, b.name)))
    if (!map.has(resource.name)) map.set(resource.name, resource)
  return map
}

const idOf = (callable: Callable): string => `${callable.host}:${callable.port.port}`
