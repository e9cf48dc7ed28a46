import { parse } from 'yaml'
import { refusal } from '#cli/failure.ts'
import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { type KubeObject, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { groupOf, pluralOf } from '#cli/onboard/object-path.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** What a cluster is before anything is written to it. */
export type ClusterFacts = {
  /** `v1.36.3`. */
  readonly version: string
  readonly nodes: number
  readonly isEks: boolean
  /** Those that the labels of its nodes say, sorted. */
  readonly regions: readonly string[]
  readonly networks: readonly string[]
  /** The cluster that an installation here says it is; absent where there is none. */
  readonly installed?: string
}

/** Native sidecars are on by default from here on. */
const minorMin = 30
const regionLabel = 'topology.kubernetes.io/region'
const networkLabel = 'topology.istio.io/network'

/** Throws `invalid` for a server that is too old. */
export async function readFacts(api: ClusterApi): Promise<ClusterFacts> {
  const {
    gitVersion = '',
    major = '',
    minor = '',
  } = (await api.call('GET', '/version')) as Readonly<Record<string, string>>
  if (Number.parseInt(major, 10) === 1 && Number.parseInt(minor, 10) < minorMin)
    throw refusal({
      ...{ kind: 'invalid', why: `its Kubernetes is ${gitVersion}; 1.${minorMin} or later is needed`, on: api.server },
      mend: 'upgrade the cluster first',
    })
  const [nodes, settings] = await Promise.all([
    api.list('/api/v1/nodes'),
    api.find(`/api/v1/namespaces/${systemNamespace}/configmaps/relay`),
  ])
  const installed = settings && clusterIn(settings)
  const providers = nodes.map((node) => String(((node['spec'] ?? {}) as Json)['providerID'] ?? ''))
  return {
    ...{ version: gitVersion, nodes: nodes.length },
    isEks: gitVersion.includes('-eks-') || providers.some((one) => one.startsWith('aws:')),
    regions: labelled(nodes, regionLabel),
    networks: labelled(nodes, networkLabel),
    ...(installed === undefined ? {} : { installed }),
  }
}

function labelled(nodes: readonly Json[], label: string): readonly string[] {
  const values = nodes.flatMap((node) => {
    const { labels = {} } = (node['metadata'] ?? {}) as { labels?: Readonly<Record<string, string>> }
    return labels[label] ?? []
  })
  return [...new Set(values)].sort()
}

/** Empty where it cannot be read: then it is nobody's. */
function clusterIn(settings: Json): string | undefined {
  const text = ((settings['data'] ?? {}) as Readonly<Record<string, string>>)['isthmus.yaml']
  try {
    const { cluster } = (parse(text ?? '') ?? {}) as { cluster?: unknown }
    return typeof cluster === 'string' ? cluster : undefined
  } catch {
    return undefined
  }
}

/** Region and network of a cluster, and whence they are known. */
export type Place = { readonly region: string; readonly network: string; readonly why: string }
type Said = { readonly region?: string; readonly network?: string }

/**
 * Where a cluster is: as said, or as all of its nodes are labelled; a network that nothing names is one of its own, which
 * is right wherever pods of different clusters do not reach each other. Throws `invalid` with the option to say.
 */
export function placeFrom(cluster: string, { regions, networks }: ClusterFacts, said: Said): Place {
  const region = said.region ?? only('region', regions, regionLabel)
  if (region === undefined)
    throw refusal({
      ...{ kind: 'invalid', why: 'its region is not known: no node has the label topology.kubernetes.io/region' },
      ...{ on: `cluster ${cluster}`, mend: 'say it: --region <region>' },
    })
  const labelledNetwork = said.network ?? only('network', networks, networkLabel)
  const network = labelledNetwork ?? cluster
  const whence = (isSaid: boolean, isLabelled: boolean) =>
    isSaid ? 'as said' : isLabelled ? 'by its nodes' : 'its own'
  return {
    ...{ region, network },
    why:
      `region ${region} (${whence(said.region !== undefined, true)}), network ${network} ` +
      `(${whence(said.network !== undefined, labelledNetwork !== undefined)})`,
  }
}

function only(what: 'region' | 'network', found: readonly string[], label: string): string | undefined {
  if (found.length <= 1) return found[0]
  throw refusal({
    ...{ kind: 'invalid', why: `its nodes are of several ${what}s: ${someOf(found, 5)}` },
    ...{ on: `label ${label} of its nodes`, mend: `say which one it is: --${what} <${what}>` },
  })
}

/** Throws `conflict` where another cluster's relay is installed there. */
export function checkInstalled(cluster: string, { installed }: ClusterFacts, api: ClusterApi): void {
  if (installed === undefined || installed === cluster) return
  throw refusal({
    kind: 'conflict',
    why: `${api.said} is cluster "${installed}" already, and a cluster has one name`,
    on: `ConfigMap ${systemNamespace}/relay of ${api.said}`,
    mend: `isthmus cluster join ${installed}, or first: isthmus cluster leave ${installed}; or name another --context`,
  })
}

/** A right that is asked for: what, where. */
export type Right = {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly namespace?: string
  readonly subresource?: string
}

/** All that a join does to a cluster. */
export const rightsFor = (objects: readonly KubeObject[]): readonly Right[] => {
  const kinds = new Map(objects.map((one) => [`${one.apiVersion} ${one.kind}`, one]))
  const written = [...kinds.values()].flatMap((object) => {
    const { namespace } = object.metadata
    const of = { group: groupOf(object.apiVersion), resource: pluralOf(object), ...(namespace ? { namespace } : {}) }
    return ['get', 'create', 'patch'].map((verb): Right => ({ ...of, verb }))
  })
  const own = { group: '', namespace: systemNamespace }
  return [
    { verb: 'list', group: '', resource: 'nodes' },
    ...written,
    ...['get', 'create', 'patch', 'delete'].map((verb): Right => ({ ...own, verb, resource: 'secrets' })),
    { ...own, verb: 'list', resource: 'pods' },
    { ...own, verb: 'get', resource: 'pods', subresource: 'log' },
  ]
}

/** Asks the API server itself. Throws `forbidden` with every right that is missing. */
export async function checkRights(api: ClusterApi, rights: readonly Right[]): Promise<void> {
  const answers = await Promise.all(rights.map(async (right) => ({ right, isAllowed: await isAllowed(api, right) })))
  const missing = answers.flatMap(({ right, isAllowed: is }): Violation[] =>
    is ? [] : [{ path: textOf(right), reason: 'is not allowed' }],
  )
  if (missing.length === 0) return
  const why = `${api.said} may not do all that a join does: ${someOf(
    missing.map(({ path }) => path),
    10,
  )}`
  throw new Problem('forbidden', why, {
    violations: missing,
    extra: {
      on: api.said,
      mend: 'use a context with these rights (cluster-admin has them), or have an administrator apply: isthmus manifests',
    },
  })
}

async function isAllowed(api: ClusterApi, { subresource, ...right }: Right): Promise<boolean> {
  const answer = (await api.call('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
    body: {
      ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview' },
      spec: { resourceAttributes: { ...right, ...(subresource === undefined ? {} : { subresource }) } },
    },
  })) as { readonly status?: { readonly allowed?: boolean } }
  return answer.status?.allowed === true
}

const textOf = ({ verb, group, resource, subresource, namespace }: Right): string =>
  `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}${group === '' ? '' : `.${group}`}` +
  `${namespace === undefined ? '' : ` in ${namespace}`}`
