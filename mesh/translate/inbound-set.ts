import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { XdsResource } from '#mesh/model/resource.ts'
import { isHttp } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import { inboundRoutes, plainInboundCluster, plainInboundListener } from '#mesh/translate/inbound.ts'
import { type InboundPort, inboundPortsOf, restModeOf } from '#mesh/translate/inbound-ports.ts'
import type { Memo } from '#mesh/translate/memo.ts'
import { redirectedInboundCluster, virtualInbound } from '#mesh/translate/redirect.ts'
import { ownTrustDomains, rootsOf } from '#mesh/translate/trust.ts'

export type InboundSet = {
  readonly clusters: readonly XdsResource[]
  readonly listeners: readonly XdsResource[]
  readonly routes: readonly XdsResource[]
}

/** How a proxy's own pod is called: its ports, each with its routes and the application behind it. */
export function inboundSet(view: View, proxy: MeshProxy, memo: Memo): InboundSet {
  const ports = inboundPortsOf(view, proxy, memo)
  const clusters = ports.map((port) => clusterOf(proxy, port, memo))
  const listeners = listenersOf(view, proxy, ports, memo)
  const routes = ports
    .filter((port) => isHttp(port.protocol))
    .map((port) =>
      memo.resource(`inbound routes ${port.port} ${port.protocol} ${port.service}`, [], () => inboundRoutes(port)),
    )
  return { clusters, listeners, routes }
}

function clusterOf(proxy: MeshProxy, port: InboundPort, memo: Memo): XdsResource {
  const { plain } = proxy
  const key = `inbound cluster ${plain?.application ?? ''} ${port.port} ${port.protocol} ${port.service}`
  return memo.resource(key, [], () => (plain ? plainInboundCluster(port, plain) : redirectedInboundCluster(port)))
}

function listenersOf(view: View, proxy: MeshProxy, ports: readonly InboundPort[], memo: Memo): readonly XdsResource[] {
  const roots = rootsOf(view)
  if (proxy.plain)
    return ports.map((port) =>
      memo.resource(`inbound ${port.address} ${port.port}`, [JSON.stringify(port), roots], () =>
        plainInboundListener(port, roots),
      ),
    )
  const facts = {
    ports: ports.map((port) => ({ ...port, address: '' })),
    rest: { mode: restModeOf(view, proxy), trustDomains: ownTrustDomains(view) },
    transparent: proxy.interception === 'TPROXY',
  }
  const key = `inbound ${JSON.stringify(facts)}`
  return [memo.resource(key, [roots], () => virtualInbound({ ...facts, roots }))]
}
