import type { FileObject } from '#cli/apply.ts'
import { refusal } from '#cli/failure.ts'

/** Groups whose objects are ours; of another group the same kind is another thing (Cluster API has a Cluster too). */
const groups = ['isthmus.dev', 'multicluster.x-k8s.io']

export const kinds = 'Cluster, ServiceExport, GlobalTrafficPolicy and SamenessGroup'
/** Kinds whose objects lie in no namespace. */
export const bare = ['Cluster', 'SamenessGroup']

/** Where an object of a kind lives in the API. Throws `invalid` for what the API cannot change. */
export function pathOf({ at, apiVersion, kind, namespace, name, spec }: FileObject): string {
  const part = encodeURIComponent
  const isOurs = apiVersion === undefined || groups.includes(apiVersion.split('/')[0] ?? '')
  const of = typeof spec['cluster'] === 'string' ? `?cluster=${part(spec['cluster'])}` : ''
  if (isOurs && kind === 'Cluster') return `/v1/clusters/${part(name)}`
  if (isOurs && kind === 'ServiceExport') return `/v1/service-exports/${part(namespace)}/${part(name)}${of}`
  if (isOurs && kind === 'GlobalTrafficPolicy') return `/v1/global-traffic-policies/${part(namespace)}/${part(name)}`
  if (isOurs && kind === 'SamenessGroup') return `/v1/sameness-groups/${part(name)}`
  throw refusal({
    ...{ kind: 'invalid', on: at, mend: 'put it among the manifests of its own cluster' },
    why: `the centre keeps no ${kind}${isOurs ? '' : ` of ${apiVersion}`}, only ${kinds}`,
  })
}
