import type { KubeApi } from '#gateway/kube-api.ts'

export type KubeObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly uid?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly deletionTimestamp?: string
  }
  readonly [field: string]: unknown
}

export type Resource = {
  readonly name: string
  readonly kind: string
  readonly namespaced: boolean
  readonly verbs: readonly string[]
}

const rootOf = (apiVersion: string): string => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`)

/** What a group version serves, without subresources; nothing where it is not served (yet). */
export async function resourcesOf(api: KubeApi, apiVersion: string): Promise<readonly Resource[]> {
  const { resources } = (await api.call('GET', rootOf(apiVersion))) as { readonly resources: readonly Resource[] }
  return resources.filter(({ name }) => !name.includes('/'))
}

/** Where an object is found. Throws where the API server does not serve its kind. */
export async function pathOf(api: KubeApi, { apiVersion, kind, metadata }: KubeObject): Promise<string> {
  const resource = (await resourcesOf(api, apiVersion)).find((one) => one.kind === kind)
  if (!resource) throw new Error(`the API server serves no ${kind} in ${apiVersion}`)
  const place = resource.namespaced ? `/namespaces/${metadata.namespace ?? 'default'}` : ''
  return `${rootOf(apiVersion)}${place}/${resource.name}/${metadata.name}`
}

/** Not of those who use the cluster: the cluster's own bookkeeping, which comes and goes. */
const passing = new Set(['Event', 'ComponentStatus', 'Lease', 'EndpointSlice', 'Endpoints', 'Pod', 'ReplicaSet'])

/** Every object that somebody applied, by `kind namespace/name`: what it says, without what the server counts in it. */
export async function everything(api: KubeApi): Promise<ReadonlyMap<string, string>> {
  const { groups } = (await api.call('GET', '/apis')) as {
    readonly groups: readonly { readonly preferredVersion: { readonly groupVersion: string } }[]
  }
  const found = new Map<string, string>()
  for (const version of ['v1', ...groups.map(({ preferredVersion }) => preferredVersion.groupVersion)])
    for (const resource of await resourcesOf(api, version)) {
      if (!resource.verbs.includes('list') || passing.has(resource.kind)) continue
      const { items } = (await api.call('GET', `${rootOf(version)}/${resource.name}`)) as {
        readonly items: readonly KubeObject[]
      }
      for (const item of items) found.set(`${resource.kind} ${keyOf(item)}`, contentOf(item))
    }
  return found
}

export const keyOf = ({ metadata }: Pick<KubeObject, 'metadata'>): string =>
  metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`

const counted = new Set(['resourceVersion', 'managedFields', 'generation', 'uid', 'creationTimestamp'])

function contentOf({ metadata, ...rest }: KubeObject): string {
  const { status: _, ...said } = rest as Record<string, unknown>
  const kept = Object.entries(metadata).filter(([name]) => !counted.has(name))
  return JSON.stringify({ ...said, metadata: Object.fromEntries(kept) })
}
