import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { XdsResource } from '#mesh/model/resource.ts'
import { isHttp } from '#mesh/model/service.ts'
import type { DeniedId } from '#mesh/model/trust-bundle.ts'
import type { View } from '#mesh/model/view.ts'
import { admissionSecret } from '#mesh/translate/admission.ts'
import { inboundNameOf, inboundRoutes, plainInboundCluster, plainInboundListener } from '#mesh/translate/inbound.ts'
import {
  type InboundPort,
  inboundInputs,
  inboundPortsOf,
  type Member,
  restModeOf,
  shapeOf,
} from '#mesh/translate/inbound-ports.ts'
import type { Memo } from '#mesh/translate/memo.ts'
import {
  type RestPorts,
  redirectedInboundCluster,
  virtualInbound,
  virtualInboundName,
} from '#mesh/translate/redirect.ts'
import {
  deniedOf,
  type ForeignAnchors,
  foreignAnchorsOf,
  ownCutOf,
  ownTrustDomains,
  rootsOf,
} from '#mesh/translate/trust.ts'

export type InboundSet = {
  readonly clusters: readonly XdsResource[]
  readonly listeners: readonly XdsResource[]
  readonly routes: readonly XdsResource[]
  readonly secrets: readonly XdsResource[]
}

/** What the inbound side of every proxy is made from, beside the services behind which its pod stands. */
export const inboundShared = ({ own, config }: View, trust: InboundTrust): readonly unknown[] => [
  ...[trust, own.services, own.exports, own.pods, own.peerAuthentications, config?.exports],
]

export type InboundTrust = {
  readonly roots: string | undefined
  readonly own: readonly string[]
  readonly cut: number
  readonly denied: readonly DeniedId[]
  readonly foreign: ForeignAnchors
}

export const inboundTrust = (view: View, memo: Memo): InboundTrust =>
  memo.data('inbound trust', [view.config?.trust, view.roots, view.home, view.bundle], () => ({
    ...{ roots: rootsOf(view), own: ownTrustDomains(view), cut: ownCutOf(view) },
    ...{ denied: view.bundle?.denied ?? [], foreign: foreignAnchorsOf(view) },
  }))

/**
 * How a proxy's own pod is called: its ports, each with whom it admits, its routes and the application behind it.
 * Nothing is made again for a proxy about which the view says what it said before.
 */
export const inboundSet = (
  view: View,
  proxy: MeshProxy,
  given: { readonly members: readonly Member[]; readonly trust: InboundTrust; readonly memo: Memo },
): InboundSet =>
  given.memo.keep(`inbound ${ownFactsOf(proxy)}`, [given.trust, ...inboundInputs(view, proxy, given)], () =>
    inboundSetOf(view, proxy, given),
  )

/** What is read of the proxy itself, by its content: one that comes back is given what was made for it before. */
const ownFactsOf = ({ namespace, pod, labels, plain, interception }: MeshProxy): string =>
  JSON.stringify([namespace, pod, labels, plain?.application, interception])

function inboundSetOf(
  view: View,
  proxy: MeshProxy,
  { members, memo }: { readonly members: readonly Member[]; readonly memo: Memo },
): InboundSet {
  const ports = inboundPortsOf(view, proxy, members)
  const clusters = ports.map((port) => clusterOf(proxy, port, memo))
  const listeners = listenersOf(view, proxy, ports, memo)
  const routes = ports
    .filter((port) => isHttp(port.protocol))
    .map((port) => {
      const key = `inbound routes ${port.port} ${port.protocol} ${port.service} ${port.mode} ${port.admitted} ${port.denied}`
      return memo.resource(key, [], () => inboundRoutes(port))
    })
  return { clusters, listeners, routes, secrets: secretsOf(view, proxy, ports, memo) }
}

function clusterOf(proxy: MeshProxy, port: InboundPort, memo: Memo): XdsResource {
  const { plain } = proxy
  const key = `inbound cluster ${plain?.application ?? ''} ${port.port} ${port.protocol} ${port.service}`
  return memo.resource(key, [], () => (plain ? plainInboundCluster(port, plain) : redirectedInboundCluster(port)))
}

function listenersOf(view: View, proxy: MeshProxy, ports: readonly InboundPort[], memo: Memo): readonly XdsResource[] {
  const shapes = ports.map(shapeOf)
  if (proxy.plain)
    return shapes.map((shape) =>
      memo.resource(`inbound ${JSON.stringify(shape)}`, [], () => plainInboundListener(shape)),
    )
  const facts = {
    ports: shapes.map((shape) => ({ ...shape, address: '' })),
    rest: restOf(view, proxy),
    transparent: proxy.interception === 'TPROXY',
  }
  return [memo.resource(`inbound ${JSON.stringify(facts)}`, [], () => virtualInbound(facts))]
}

function restOf(view: View, proxy: MeshProxy): RestPorts {
  const denied = deniedOf(view, ownTrustDomains(view))
  const cut = Math.max(ownCutOf(view), ...denied.map((one) => one.cut))
  return { mode: restModeOf(view, proxy), denied: denied.map(({ id }) => id), cut }
}

function secretsOf(view: View, proxy: MeshProxy, ports: readonly InboundPort[], memo: Memo): readonly XdsResource[] {
  const roots = rootsOf(view)
  if (roots === undefined) return []
  const named = ports
    .filter((port) => port.mode !== 'DISABLE')
    .map(({ port, service, admitted }) => ({ name: inboundNameOf(port), service, admitted }))
  const hasRest = !proxy.plain && restModeOf(view, proxy) !== 'DISABLE'
  const rest = hasRest ? [{ name: virtualInboundName, admitted: ownTrustDomains(view) }] : []
  const all = foreignAnchorsOf(view)
  return [...named, ...rest].map((admits) => {
    const foreign = Object.fromEntries(Object.entries(all).filter(([domain]) => admits.admitted.includes(domain)))
    return memo.resource(`secret ${JSON.stringify(admits)}`, [roots, JSON.stringify(foreign)], () =>
      admissionSecret(admits.name, admits, { roots, foreign }),
    )
  })
}
