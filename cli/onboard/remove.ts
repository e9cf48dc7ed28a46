import { managersOf } from '#cli/onboard/applied.ts'
import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { fieldManager, managedByLabel, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { joinSecret, relaySecret, rootConfigMap } from '#cli/onboard/manifests/settings.ts'
import type { Say } from '#cli/onboard/steps.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** Who writes as a part of ours: this command, and the relay. */
const writers = new Set([fieldManager, 'isthmus-relay'])
const ourLabel = `${managedByLabel}=isthmus`
const core = '/api/v1'
const mcs = '/apis/multicluster.x-k8s.io'
const own = (group: string, plural: string): string => `${group}/namespaces/${systemNamespace}/${plural}`

/** What is looked at, in the order in which it goes: the relay ends before what it derives is taken away. */
const parts: readonly { readonly path: string; readonly query?: Readonly<Record<string, string>> }[] = [
  ...[
    ...[own('/apis/apps/v1', 'deployments'), own(core, 'services'), own('/apis/policy/v1', 'poddisruptionbudgets')],
    ...[own('/apis/networking.k8s.io/v1', 'networkpolicies'), own(core, 'configmaps'), own(core, 'serviceaccounts')],
  ].map((path) => ({ path, query: { labelSelector: ourLabel } })),
  ...['rolebindings', 'roles'].map((plural) => ({
    path: own('/apis/rbac.authorization.k8s.io/v1', plural),
    query: { labelSelector: ourLabel },
  })),
  ...['clusterrolebindings', 'clusterroles'].map((plural) => ({
    path: `/apis/rbac.authorization.k8s.io/v1/${plural}`,
    query: { labelSelector: ourLabel },
  })),
  ...[joinSecret, relaySecret].map((name) => ({
    path: own(core, 'secrets'),
    query: { fieldSelector: `metadata.name=${name}` },
  })),
  { path: own('/apis/coordination.k8s.io/v1', 'leases'), query: { fieldSelector: 'metadata.name=relay' } },
  { path: `${core}/configmaps`, query: { fieldSelector: `metadata.name=${rootConfigMap}` } },
  { path: '/apis/discovery.k8s.io/v1/endpointslices', query: { labelSelector: ourLabel } },
  { path: `${mcs}/v1beta1/serviceimports`, query: { labelSelector: ourLabel } },
  { path: `${mcs}/v1alpha1/serviceimports`, query: { labelSelector: ourLabel } },
]

/** Of what holds secrets too, what is read is what it is called. */
const metadataOnly = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'

type Metadata = {
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly deletionTimestamp?: string
}
const metadataOf = (object: Json): Metadata => (object['metadata'] ?? { name: '' }) as Metadata

/** Whether we wrote it: whoever only looks like us keeps his. */
const isOurs = (object: Json): boolean => managersOf(object).some(({ manager = '' }) => writers.has(manager))

export type Removed = { readonly count: number; readonly kept: readonly string[] }

/**
 * Takes away what a join and its relay have made in a cluster, and nothing else: kinds only where we defined them and no
 * object of them is left, the namespace where we made it and nothing of others is in it. Again: what is left goes.
 */
export async function removeOurs(api: ClusterApi, say: Say): Promise<Removed> {
  let count = 0
  for (const { path, query = {} } of parts) {
    const list = await api.list(path, query, metadataOnly)
    for (const object of list.filter(isOurs))
      if (await removeOne(api, pathIn(path, metadataOf(object)), object)) count += 1
    if (list.length > 0 && path.endsWith('/deployments')) await podsGone(api, say)
  }
  const definitions = await removeDefinitions(api)
  const namespace = await removeNamespace(api, say)
  return { count: count + definitions.count + namespace.count, kept: [...definitions.kept, ...namespace.kept] }
}

/** `/api/v1/configmaps` of all namespaces, or of one: where one of them is. */
const pathIn = (path: string, { name, namespace }: Metadata): string => {
  if (namespace === undefined || path.includes('/namespaces/')) return `${path}/${name}`
  const at = path.lastIndexOf('/')
  return `${path.slice(0, at)}/namespaces/${namespace}${path.slice(at)}/${name}`
}

/** Only that very object: one of its name that came meanwhile is somebody's. */
async function removeOne(api: ClusterApi, path: string, object: Json): Promise<boolean> {
  const { uid, deletionTimestamp } = metadataOf(object)
  if (deletionTimestamp !== undefined) return false
  const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions: { uid } }
  return (await api.remove(path, body)) !== undefined
}

const lookMs = 300

/** A relay that still runs would write anew what is taken away. */
async function podsGone(api: ClusterApi, say: Say): Promise<void> {
  const query = { labelSelector: 'app.kubernetes.io/part-of=isthmus' }
  for (let said = -1; ; ) {
    const pods = await api.list(own(core, 'pods'), query, metadataOnly)
    if (pods.length === 0) return
    if (pods.length !== said) say('remove', `${pods.length} pods end`)
    said = pods.length
    await api.pause(lookMs)
  }
}

const definitionsPath = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
type Spec = {
  readonly group: string
  readonly names: { readonly plural: string }
  readonly versions: readonly { readonly name: string; readonly served: boolean }[]
}

async function removeDefinitions(api: ClusterApi): Promise<Removed> {
  const kept: string[] = []
  let count = 0
  for (const definition of (await api.list(definitionsPath, { labelSelector: ourLabel })).filter(isOurs)) {
    const { group, names, versions } = definition['spec'] as Spec
    const { name } = metadataOf(definition)
    const served = versions.find((one) => one.served)?.name
    const left =
      served === undefined ? [] : await api.list(`/apis/${group}/${served}/${names.plural}`, {}, metadataOnly)
    if (left.length > 0) kept.push(`kind ${name}: ${left.length} of them are left (${someOf(left.map(nameOf), 3)})`)
    else if (await removeOne(api, `${definitionsPath}/${name}`, definition)) count += 1
  }
  return { count, kept }
}

const nameOf = (object: Json): string => {
  const { namespace, name } = metadataOf(object)
  return namespace === undefined ? name : `${namespace}/${name}`
}

/** Kubernetes itself puts these into every namespace. */
const everywhere = new Set(['kube-root-ca.crt', 'default'])

async function removeNamespace(api: ClusterApi, say: Say): Promise<Removed> {
  const path = `${core}/namespaces/${systemNamespace}`
  const found = await api.find(path)
  if (!found) return { count: 0, kept: [] }
  const why = (await keepsNamespace(api, found)) ?? undefined
  if (why !== undefined) return { count: 0, kept: [`Namespace ${systemNamespace}: ${why}`] }
  await removeOne(api, path, found)
  say('remove', `namespace ${systemNamespace} goes`)
  while (await api.find(path)) await api.pause(lookMs)
  return { count: 1, kept: [] }
}

async function keepsNamespace(api: ClusterApi, namespace: Json): Promise<string | undefined> {
  if (!isOurs(namespace) || metadataOf(namespace).labels?.[managedByLabel] !== 'isthmus') return 'somebody else made it'
  const lists = await Promise.all(
    [
      own(core, 'configmaps'),
      own(core, 'secrets'),
      own(core, 'services'),
      own(core, 'serviceaccounts'),
      own(core, 'pods'),
    ].map(async (path) =>
      (await api.list(path, {}, metadataOnly)).map((object) => ({ object, plural: path.split('/').at(-1) })),
    ),
  )
  const others = lists
    .flat()
    .filter(({ object }) => !everywhere.has(metadataOf(object).name) && !metadataOf(object).deletionTimestamp)
  if (others.length === 0) return undefined
  return `others have something in it (${someOf(
    others.map(({ object, plural }) => `${plural} ${metadataOf(object).name}`),
    3,
  )})`
}
