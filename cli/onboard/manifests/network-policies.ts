import { gatewayName } from '#cli/onboard/manifests/gateway.ts'
import { type KubeObject, namespaced, selectorOf, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { gatewayPort, ports } from '#cli/onboard/manifests/settings.ts'

/** A namespace with this label (`true`) may read metrics and status. */
const monitoringLabel = 'isthmus.dev/monitoring'

const tcp = (port: number) => ({ port, protocol: 'TCP' })
const watchers = [
  { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': systemNamespace } } },
  { namespaceSelector: { matchLabels: { [monitoringLabel]: 'true' } } },
]

/**
 * Who may reach the relay and the gateway: proxies of this cluster, and for names everybody in it; the gateway's port all
 * the world, for whom its certificates are; health and metrics those who watch. What they call is not limited: the centre
 * and other clusters' gateways may be anywhere.
 */
export const buildNetworkPolicies = (): readonly KubeObject[] => [
  policy('relay', [
    { from: [{ namespaceSelector: {} }], ports: [tcp(ports.proxies)] },
    // What comes to a replica that does not lead.
    { from: [{ podSelector: { matchLabels: selectorOf('relay') } }], ports: [tcp(ports.handOn)] },
    // A DNS cache of a node is in no namespace.
    { ports: [{ port: ports.dns, protocol: 'UDP' }, tcp(ports.dns)] },
    { from: watchers, ports: [tcp(ports.status)] },
  ]),
  policy(gatewayName, [{ ports: [tcp(gatewayPort)] }, { from: watchers, ports: [tcp(ports.proxyStatus)] }]),
]

const policy = (name: string, ingress: readonly object[]): KubeObject =>
  namespaced(
    { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', name },
    { spec: { podSelector: { matchLabels: selectorOf(name) }, policyTypes: ['Ingress'], ingress } },
  )
