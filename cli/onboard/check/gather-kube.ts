import { parse } from 'yaml'
import {
  anotherRelay,
  type CheckFacts,
  type DefinitionFact,
  type InstalledFact,
  type Known,
  known,
  later,
  type NodeFact,
} from '#cli/onboard/check/facts.ts'
import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { buildManifests } from '#cli/onboard/manifests/build.ts'
import { gatewayName } from '#cli/onboard/manifests/gateway.ts'
import { managedByLabel, selectorOf, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { type Rule, relayClusterRules, relayRules } from '#cli/onboard/manifests/rbac.ts'
import { joinSecret } from '#cli/onboard/manifests/settings.ts'
import { checkRights, rightsFor } from '#cli/onboard/preflight.ts'
import { readRollout } from '#cli/onboard/rollout.ts'
import { Problem } from '#mesh/model/problem.ts'

type Kube = Omit<CheckFacts['kube'], 'exports' | 'unexported'>
type Metadata = {
  readonly name?: string
  readonly namespace?: string
  readonly labels?: Readonly<Record<string, string>>
}

const own = `/api/v1/namespaces/${systemNamespace}`
const apps = '/apis/apps/v1'

/** What the API server says of the cluster and of what is installed there. */
export async function readKube(
  api: ClusterApi,
  { now, pre }: { readonly now: () => number; readonly pre: boolean },
): Promise<Kube> {
  const after = <T>(read: () => Promise<T>): Promise<Known<T>> => (pre ? Promise.resolve(later) : known(read))
  const [version, aheadMs, missingRights, issuer, nodes, definitions, others, serviceCidrs] = await Promise.all([
    known(() => versionOf(api)),
    known(() => aheadOf(api, now)),
    known(() => missingOf(api)),
    known(() => issuerOf(api)),
    known(async () => (await api.list('/api/v1/nodes')).map(nodeFrom)),
    known(async () => (await api.list('/apis/apiextensions.k8s.io/v1/customresourcedefinitions')).map(definitionFrom)),
    known(async () => othersIn(await api.list(`${apps}/deployments`))),
    known(async () =>
      (await api.list('/apis/networking.k8s.io/v1/servicecidrs')).flatMap(
        ({ spec }) => (spec as { readonly cidrs?: readonly string[] } | undefined)?.cidrs ?? [],
      ),
    ),
  ])
  const [namespaces, corefile, installed] = await Promise.all([
    after(async () => (await api.list('/api/v1/namespaces')).map((one) => metadataOf(one).name ?? '')),
    after(() => corefileOf(api)),
    // Whoever joins looks at this by himself.
    after(() => installedIn(api)),
  ])
  return {
    ...{ version, aheadMs, missingRights, issuer, nodes, definitions, others },
    ...{ serviceCidrs, namespaces, corefile, installed },
  }
}

const metadataOf = (object: Json): Metadata => (object['metadata'] ?? {}) as Metadata
const labelsIn = (object: Json): Readonly<Record<string, string>> => metadataOf(object).labels ?? {}

async function versionOf(api: ClusterApi) {
  const { gitVersion = '', major = '', minor = '' } = (await api.call('GET', '/version')) as Record<string, string>
  return { text: gitVersion, major: Number.parseInt(major, 10), minor: Number.parseInt(minor, 10) }
}

/** The server says whole seconds: it is half a second further on the average. */
async function aheadOf(api: ClusterApi, now: () => number): Promise<number> {
  const asked = now()
  const at = await api.time()
  if (at === undefined) throw new Problem('unavailable', 'the API server does not say what time it is')
  const ahead = at + 500 - (asked + now()) / 2
  return Math.abs(ahead) <= 1000 ? 0 : ahead
}

/** All that a join does, whatever its settings. */
async function missingOf(api: ClusterApi): Promise<readonly string[]> {
  const named = { cluster: 'x', mesh: 'x', trustDomain: 'x.x', region: 'x', network: 'x' }
  const settings = {
    ...named,
    images: { relay: '', proxy: '' },
    gateway: { addresses: [], annotations: {}, replicas: 2 },
  }
  try {
    await checkRights(api, rightsFor(buildManifests(settings)))
    return []
  } catch (error) {
    if (error instanceof Problem && error.kind === 'forbidden' && error.violations.length > 0)
      return error.violations.map(({ path }) => path)
    throw error
  }
}

async function issuerOf(api: ClusterApi) {
  const [said, keys] = await Promise.all([
    api.call('GET', '/.well-known/openid-configuration'),
    api.call('GET', '/openid/v1/jwks', { accept: 'application/jwk-set+json, application/json' }),
  ])
  const { issuer = '' } = (said ?? {}) as { readonly issuer?: string }
  return { issuer, keys: ((keys ?? {}) as { readonly keys?: readonly unknown[] }).keys?.length ?? 0 }
}

type Status = {
  readonly conditions?: readonly { readonly type: string; readonly status: string }[]
  readonly nodeInfo?: { readonly architecture?: string }
  readonly addresses?: readonly { readonly type: string; readonly address: string }[]
}
const isTrue = ({ conditions = [] }: Status, type: string): boolean =>
  conditions.some((one) => one.type === type && one.status === 'True')

function nodeFrom(node: Json): NodeFact {
  const status = (node['status'] ?? {}) as Status
  const { podCIDRs = [] } = (node['spec'] ?? {}) as { readonly podCIDRs?: readonly string[] }
  const labels = labelsIn(node)
  return {
    ...{ name: metadataOf(node).name ?? '', ready: isTrue(status, 'Ready'), podCidrs: podCIDRs },
    region: labels['topology.kubernetes.io/region'] ?? '',
    zone: labels['topology.kubernetes.io/zone'] ?? '',
    architecture: status.nodeInfo?.architecture || labels['kubernetes.io/arch'] || '',
    addresses: (status.addresses ?? []).flatMap(({ type, address }) => (type === 'InternalIP' ? [address] : [])),
  }
}

function definitionFrom(definition: Json): DefinitionFact {
  const { versions = [] } = (definition['spec'] ?? {}) as {
    readonly versions?: readonly { readonly name: string; readonly served: boolean }[]
  }
  return {
    name: metadataOf(definition).name ?? '',
    versions: versions.flatMap(({ name, served }) => (served ? [name] : [])),
    established: isTrue((definition['status'] ?? {}) as Status, 'Established'),
    ours: labelsIn(definition)[managedByLabel] === 'isthmus',
  }
}

/** By the name of their Deployments: who else writes ServiceImports. Source: the projects' own installations. */
const rivals: Readonly<Record<string, string>> = {
  'submariner-lighthouse-agent': 'Submariner',
  'cloud-map-mcs-controller-manager': 'AWS Cloud Map MCS Controller',
  'gke-mcs-importer': 'multi-cluster Services of GKE',
  'clustermesh-apiserver': 'Cilium ClusterMesh, where its MCS API is on',
}

function othersIn(deployments: readonly Json[]): readonly string[] {
  return deployments.flatMap((one) => {
    const { name = '', namespace = '' } = metadataOf(one)
    const labels = labelsIn(one)
    const isRelay = labels['app.kubernetes.io/part-of'] === 'isthmus' && labels['app.kubernetes.io/name'] === 'relay'
    if (isRelay && (namespace !== systemNamespace || name !== 'relay')) return [`${namespace}/${name}${anotherRelay}`]
    const rival = rivals[name]
    return rival === undefined ? [] : [`${namespace}/${name}: ${rival}`]
  })
}

async function corefileOf(api: ClusterApi): Promise<string> {
  const path = '/api/v1/namespaces/kube-system/configmaps/coredns'
  const found = await api.find(path)
  if (!found)
    throw new Problem('not-found', 'there is no ConfigMap kube-system/coredns: another DNS server serves here')
  return Object.values((found['data'] ?? {}) as Readonly<Record<string, string>>).join('\n')
}

/** Undefined where nothing of ours is there. */
async function installedIn(api: ClusterApi): Promise<InstalledFact | undefined> {
  const settings = await api.find(`${own}/configmaps/relay`)
  if (!settings) return undefined
  const said = settingsIn(settings)
  const labelSelector = Object.entries(selectorOf('relay'))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
  const [relay, gateway, missingRules, hasJoinToken, service, relayService, lease, pods] = await Promise.all([
    readRollout(api, 'relay'),
    readRollout(api, gatewayName),
    known(() => missingRulesOf(api)),
    known(async () => (await api.find(`${own}/secrets/${joinSecret}`, { accept: metadataOnly })) !== undefined),
    api.find(`${own}/services/${gatewayName}`),
    api.find(`${own}/services/relay`),
    known(() => leaseOf(api)),
    api.list(`${own}/pods`, { labelSelector }),
  ])
  const { clusterIP } = (relayService?.['spec'] ?? {}) as { readonly clusterIP?: string }
  return {
    ...{ cluster: said.cluster, network: said.network, relay, gateway, missingRules, hasJoinToken, lease },
    addresses: [...addressesOf(service ?? {}), ...said.addresses],
    relayPods: pods.map((pod) => metadataOf(pod).name ?? ''),
    ...(said.clusterSetCidr === undefined ? {} : { clusterSetCidr: said.clusterSetCidr }),
    ...(clusterIP && clusterIP !== 'None' ? { relayIp: clusterIP } : {}),
  }
}

/** Nothing of what a Secret holds. */
const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'

type Said = {
  readonly cluster?: unknown
  readonly network?: unknown
  readonly relay?: { readonly gateways?: readonly { readonly address?: unknown }[] }
  readonly kubernetes?: { readonly clusterSetCidr?: unknown }
}

function settingsIn(object: Json) {
  const text = ((object['data'] ?? {}) as Readonly<Record<string, string>>)['isthmus.yaml'] ?? ''
  const { cluster, network, relay, kubernetes } = yamlOf(text)
  const cidr = kubernetes?.clusterSetCidr
  return {
    ...{ cluster: typeof cluster === 'string' ? cluster : '', network: typeof network === 'string' ? network : '' },
    addresses: (relay?.gateways ?? []).flatMap(({ address }) => (typeof address === 'string' ? [address] : [])),
    clusterSetCidr: typeof cidr === 'string' && cidr !== '' ? cidr : undefined,
  }
}

function yamlOf(text: string): Said {
  try {
    return (parse(text) ?? {}) as Said
  } catch (cause) {
    const why = `ConfigMap ${systemNamespace}/relay holds no settings: it is no YAML`
    throw new Problem('invalid', why, { cause })
  }
}

function addressesOf(service: Json): readonly string[] {
  const { loadBalancer = {} } = (service['status'] ?? {}) as {
    readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[] }
  }
  return (loadBalancer.ingress ?? []).flatMap(({ ip, hostname }) => ip ?? hostname ?? [])
}

async function leaseOf(api: ClusterApi): Promise<{ readonly holder: string; readonly renewedAt: number } | undefined> {
  const found = await api.find(`/apis/coordination.k8s.io/v1/namespaces/${systemNamespace}/leases/relay`)
  const { holderIdentity: holder = '', renewTime = '' } = (found?.['spec'] ?? {}) as Readonly<Record<string, string>>
  const renewedAt = Date.parse(renewTime)
  return holder === '' || Number.isNaN(renewedAt) ? undefined : { holder, renewedAt }
}

/** What the relay's service account may not do of what it is shipped with. */
async function missingRulesOf(api: ClusterApi): Promise<readonly string[]> {
  const asked = [
    ...relayClusterRules.flatMap((rule) => attributesOf(rule)),
    ...relayRules.flatMap((rule) => attributesOf(rule, systemNamespace)),
  ]
  const answers = await Promise.all(asked.map(async (one) => ((await mayRelay(api, one)) ? [] : [textOf(one)])))
  return answers.flat()
}

type Attributes = {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly namespace?: string
  readonly name?: string
}

const attributesOf = ({ apiGroups, resources, verbs, resourceNames = [''] }: Rule, namespace?: string): Attributes[] =>
  apiGroups.flatMap((group) =>
    resources.flatMap((whole) => {
      const [resource = '', subresource] = whole.split('/')
      return verbs.flatMap((verb) =>
        resourceNames.map((name) => ({
          ...{ verb, group, resource },
          ...(subresource === undefined ? {} : { subresource }),
          ...(namespace === undefined ? {} : { namespace }),
          ...(name === '' ? {} : { name }),
        })),
      )
    }),
  )

async function mayRelay(api: ClusterApi, resourceAttributes: Attributes): Promise<boolean> {
  const user = `system:serviceaccount:${systemNamespace}:relay`
  const groups = ['system:authenticated', 'system:serviceaccounts', `system:serviceaccounts:${systemNamespace}`]
  const answer = await api.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
    body: {
      ...{ apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview' },
      spec: { user, groups, resourceAttributes },
    },
  })
  return ((answer ?? {}) as { readonly status?: { readonly allowed?: boolean } }).status?.allowed === true
}

const textOf = ({ verb, group, resource, subresource, namespace, name }: Attributes): string =>
  `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}${group === '' ? '' : `.${group}`}` +
  `${name === undefined ? '' : ` "${name}"`}${namespace === undefined ? '' : ` in ${namespace}`}`
