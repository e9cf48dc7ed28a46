import { clusterWide, type KubeObject, namespaced, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { relaySecret, rootConfigMap } from '#cli/onboard/manifests/settings.ts'

export type Rule = {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
  readonly resourceNames?: readonly string[]
}

const look = ['get', 'list', 'watch'] as const
const derive = [...look, 'create', 'update', 'patch', 'delete'] as const
const say = ['update', 'patch'] as const
const mcs = 'multicluster.x-k8s.io'
const ours = 'isthmus.dev'

const rule = (
  group: string,
  resources: readonly string[],
  verbs: readonly string[],
  names?: readonly string[],
): Rule => ({
  ...{ apiGroups: [group], resources, verbs },
  ...(names ? { resourceNames: names } : {}),
})

/**
 * What the relay may do in the whole cluster: read what its proxies are served from, write what it derives (imports and
 * their endpoints), say how objects stand, and tell namespaces whom to trust. It never lists Secrets.
 */
export const relayClusterRules: readonly Rule[] = [
  rule('', ['services', 'pods', 'nodes', 'namespaces'], look),
  rule('discovery.k8s.io', ['endpointslices'], derive),
  rule(mcs, ['serviceexports'], look),
  rule(mcs, ['serviceimports'], derive),
  rule(mcs, ['serviceexports/status', 'serviceimports/status'], say),
  rule(ours, ['globaltrafficpolicies', 'samenessgroups'], look),
  rule(ours, ['globaltrafficpolicies/status', 'samenessgroups/status'], say),
  rule('security.istio.io', ['peerauthentications'], look),
  rule('', ['configmaps'], ['get', 'update', 'patch'], [rootConfigMap]),
  // A creation has no name yet that a rule could ask for.
  rule('', ['configmaps'], ['create']),
  rule('', ['events'], ['create', 'patch']),
  rule('events.k8s.io', ['events'], ['create', 'patch']),
]

/** In its own namespace: the one Secret that its replicas share, and the Lease that says which of them reports. */
export const relayRules: readonly Rule[] = [
  rule('', ['secrets'], ['get', 'update'], [relaySecret]),
  rule('', ['secrets'], ['create']),
  rule('coordination.k8s.io', ['leases'], ['get', 'update'], ['relay']),
  rule('coordination.k8s.io', ['leases'], ['create']),
]

const rbac = 'rbac.authorization.k8s.io'
const subjects = [{ kind: 'ServiceAccount', name: 'relay', namespace: systemNamespace }]
const wide = { apiVersion: `${rbac}/v1`, name: 'isthmus-relay', part: 'relay' }
const own = { apiVersion: `${rbac}/v1`, name: 'relay' }

/** Roles and bindings of the relay. The gateway has none: it asks the API server nothing. */
export const buildRbac = (): readonly KubeObject[] => [
  clusterWide({ ...wide, kind: 'ClusterRole' }, { rules: relayClusterRules }),
  clusterWide(
    { ...wide, kind: 'ClusterRoleBinding' },
    { roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'isthmus-relay' }, subjects },
  ),
  namespaced({ ...own, kind: 'Role' }, { rules: relayRules }),
  namespaced({ ...own, kind: 'RoleBinding' }, { roleRef: { apiGroup: rbac, kind: 'Role', name: 'relay' }, subjects }),
]
