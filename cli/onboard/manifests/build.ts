import { buildDefinitions } from '#cli/onboard/manifests/definitions.ts'
import { buildGateway } from '#cli/onboard/manifests/gateway.ts'
import { buildNetworkPolicies } from '#cli/onboard/manifests/network-policies.ts'
import { clusterWide, type KubeObject, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { buildRbac } from '#cli/onboard/manifests/rbac.ts'
import { buildRelay } from '#cli/onboard/manifests/relay.ts'
import type { OnboardSettings } from '#cli/onboard/manifests/settings.ts'

/** Everything that a cluster is given, in the order in which it is applied. Equal settings give equal objects. */
export const buildManifests = (settings: OnboardSettings): readonly KubeObject[] => [
  buildNamespace(),
  ...buildDefinitions(),
  ...buildRbac(),
  ...buildNetworkPolicies(),
  ...buildRelay(settings),
  ...buildGateway(settings),
]

/** Pods that ask for more than ours do are refused in it. */
export const buildNamespace = (): KubeObject => {
  const { metadata, ...rest } = clusterWide({
    apiVersion: 'v1',
    kind: 'Namespace',
    name: systemNamespace,
    part: 'namespace',
  })
  const level = { 'pod-security.kubernetes.io/enforce': 'restricted' }
  return { ...rest, metadata: { ...metadata, labels: { ...metadata.labels, ...level } } }
}
