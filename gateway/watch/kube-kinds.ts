/** A kind of object that is listed and watched. */
export type WatchedKind = {
  readonly kind: string
  /** Its path after the version, and its name in RBAC rules. */
  readonly resource: string
  /** Empty for Kubernetes' core. */
  readonly group: string
  /** The first that the server has is taken. */
  readonly versions: readonly string[]
  /** Set where a server may not know the kind: then there is none of it. */
  readonly isOptional?: true
  /** More than this many of it are not kept. */
  readonly max: number
}

const mcs = {
  group: 'multicluster.x-k8s.io',
  versions: ['v1alpha1', 'v1beta1', 'v1'],
  isOptional: true,
  max: 10_000,
} as const
const own = { group: 'isthmus.dev', versions: ['v1alpha1'], isOptional: true, max: 10_000 } as const
const core = { group: '', versions: ['v1'] }

/**
 * All that a relay looks at. Secrets are never among it. The bounds are some four times a cluster of 5,000 pods and 10,000
 * endpoints; what is past one is set aside and said, what was known before stays.
 */
export const watchedKinds: readonly WatchedKind[] = [
  { ...core, kind: 'Namespace', resource: 'namespaces', max: 10_000 },
  { ...core, kind: 'Node', resource: 'nodes', max: 5_000 },
  { ...core, kind: 'Pod', resource: 'pods', max: 20_000 },
  { ...core, kind: 'Service', resource: 'services', max: 10_000 },
  { kind: 'EndpointSlice', resource: 'endpointslices', group: 'discovery.k8s.io', versions: ['v1'], max: 20_000 },
  { ...mcs, kind: 'ServiceExport', resource: 'serviceexports' },
  { ...mcs, kind: 'ServiceImport', resource: 'serviceimports' },
  { ...own, kind: 'GlobalTrafficPolicy', resource: 'globaltrafficpolicies', max: 2_000 },
  { ...own, kind: 'SamenessGroup', resource: 'samenessgroups', max: 2_000 },
  {
    ...{ kind: 'PeerAuthentication', resource: 'peerauthentications', group: 'security.istio.io' },
    ...{ versions: ['v1', 'v1beta1'], isOptional: true, max: 10_000 },
  },
]

export const basePath = ({ group }: WatchedKind, version: string): string =>
  group === '' ? `/api/${version}` : `/apis/${group}/${version}`

export const apiVersionOf = ({ group }: WatchedKind, version: string): string =>
  group === '' ? version : `${group}/${version}`
