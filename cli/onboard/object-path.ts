import type { KubeObject } from '#cli/onboard/manifests/object.ts'

/** The kinds that we create: their plural names. */
const plurals: Readonly<Record<string, string>> = {
  ...{ Namespace: 'namespaces', ServiceAccount: 'serviceaccounts', ConfigMap: 'configmaps', Secret: 'secrets' },
  ...{ Service: 'services', Deployment: 'deployments', PodDisruptionBudget: 'poddisruptionbudgets' },
  ...{
    ClusterRole: 'clusterroles',
    ClusterRoleBinding: 'clusterrolebindings',
    Role: 'roles',
    RoleBinding: 'rolebindings',
  },
  ...{ NetworkPolicy: 'networkpolicies', CustomResourceDefinition: 'customresourcedefinitions' },
}

export type Kind = Pick<KubeObject, 'apiVersion' | 'kind'>

export function pluralOf({ kind }: Kind): string {
  const plural = plurals[kind]
  if (plural === undefined) throw new Error(`${kind} has no plural here`)
  return plural
}

/** `/api/v1`, `/apis/apps/v1`. */
export const groupPath = (apiVersion: string): string =>
  apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`

/** The group of an API version; empty for the core. */
export const groupOf = (apiVersion: string): string =>
  apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : ''

/** Where the API has an object. */
export const objectPath = ({
  apiVersion,
  kind,
  metadata,
}: Pick<KubeObject, 'apiVersion' | 'kind' | 'metadata'>): string =>
  [
    groupPath(apiVersion),
    ...(metadata.namespace === undefined ? [] : [`namespaces/${metadata.namespace}`]),
    `${pluralOf({ apiVersion, kind })}/${metadata.name}`,
  ].join('/')
