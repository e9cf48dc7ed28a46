import { z } from 'zod'
import {
  type KubeObject,
  type Metadata,
  metadataSchema,
  parseEndpointSlice,
  parseNamespace,
  parseNode,
  parsePeerAuthentication,
  parsePod,
  parseSamenessGroup,
  parseService,
  parseServiceAccount,
  parseServiceExport,
  parseServiceImport,
  parseTrafficPolicy,
} from '#gateway/watch/kube-object.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What one YAML object turned out to be. `id` (`Service bookinfo/reviews`) is absent where it cannot be told. */
export type ParsedObject =
  | { readonly outcome: 'used'; readonly id: string; readonly object: KubeObject }
  | { readonly outcome: 'ignored'; readonly id: string }
  | { readonly outcome: 'rejected'; readonly id?: string; readonly reason: string }

type Kind = {
  readonly versions: readonly string[]
  readonly clusterWide?: true
  /** Undefined = of no interest. Throws what is wrong. */
  readonly parse: (metadata: Metadata, raw: unknown) => KubeObject | undefined
}

/** The kinds a relay uses, by `<group>/<kind>`. */
const used: Readonly<Record<string, Kind>> = {
  '/Namespace': { versions: ['v1'], clusterWide: true, parse: parseNamespace },
  '/Node': { versions: ['v1'], clusterWide: true, parse: parseNode },
  '/ServiceAccount': { versions: ['v1'], parse: parseServiceAccount },
  '/Service': { versions: ['v1'], parse: parseService },
  '/Pod': { versions: ['v1'], parse: parsePod },
  'discovery.k8s.io/EndpointSlice': { versions: ['v1'], parse: parseEndpointSlice },
  'multicluster.x-k8s.io/ServiceExport': { versions: ['v1alpha1', 'v1beta1', 'v1'], parse: parseServiceExport },
  'multicluster.x-k8s.io/ServiceImport': { versions: ['v1alpha1', 'v1beta1', 'v1'], parse: parseServiceImport },
  'isthmus.dev/GlobalTrafficPolicy': { versions: ['v1alpha1'], parse: parseTrafficPolicy },
  'isthmus.dev/SamenessGroup': { versions: ['v1alpha1'], clusterWide: true, parse: parseSamenessGroup },
  'security.istio.io/PeerAuthentication': { versions: ['v1beta1', 'v1'], parse: parsePeerAuthentication },
}

/** Kubernetes' own kinds that have their place in a cluster directory and mean nothing to a relay. */
const ignoredCore = new Set(
  (
    'ConfigMap Secret Endpoints Event LimitRange ResourceQuota PersistentVolume PersistentVolumeClaim ' +
    'PodTemplate ReplicationController'
  ).split(' '),
)
const ignoredGroup = /^(apps|batch|autoscaling|policy|extensions|([a-z0-9-]+\.)*k8s\.io)$/

const headSchema = z.object({ apiVersion: z.string().min(1).max(200), kind: z.string().min(1).max(100) })

/**
 * Reads one Kubernetes object. Never throws. Kinds of Istio that this version does not act upon are rejected and not
 * ignored: an AuthorizationPolicy without effect must not look like one that has some.
 */
export function parseObject(raw: unknown): ParsedObject {
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw))
    return { outcome: 'rejected', reason: 'is not an object: apiVersion, kind and metadata are expected' }
  const head = headSchema.safeParse(raw)
  if (!head.success) return { outcome: 'rejected', reason: `is not a Kubernetes object: ${reasonsOf(head.error)}` }
  const { apiVersion, kind } = head.data
  const [version = '', group = ''] = apiVersion.split('/').toReversed()
  const metadata = z.object({ metadata: metadataSchema }).safeParse(raw)
  if (!metadata.success) return { outcome: 'rejected', reason: `${kind}: ${reasonsOf(metadata.error)}` }
  const known = used[`${group}/${kind}`]
  const { name } = metadata.data.metadata
  const namespace = metadata.data.metadata.namespace ?? 'default'
  const id = known?.clusterWide ? `${kind} ${name}` : `${kind} ${namespace}/${name}`
  if (!known) return unused(id, group, kind, apiVersion)
  if (!known.versions.includes(version))
    return {
      outcome: 'rejected',
      id,
      reason: `apiVersion ${apiVersion} is not known: use ${known.versions.join(' or ')}`,
    }
  try {
    const object = known.parse({ ...metadata.data.metadata, namespace }, raw)
    return object ? { outcome: 'used', id, object } : { outcome: 'ignored', id }
  } catch (error) {
    return { outcome: 'rejected', id, reason: reasonsOf(error) }
  }
}

function unused(id: string, group: string, kind: string, apiVersion: string): ParsedObject {
  if (group === '' ? ignoredCore.has(kind) : ignoredGroup.test(group)) return { outcome: 'ignored', id }
  const why = /(^|\.)istio\.io$/.test(group) ? 'has no effect in this version' : 'is not a kind that is known here'
  return { outcome: 'rejected', id, reason: `${kind} (${apiVersion}) ${why}` }
}

function reasonsOf(error: unknown): string {
  if (error instanceof Problem && error.violations.length > 1)
    return firstOf(error.violations.map(({ path, reason }) => `${path}: ${reason}`))
  if (!(error instanceof z.ZodError)) return error instanceof Error ? error.message : String(error)
  return firstOf(error.issues.map((i) => `${i.path.map(String).join('.') || 'object'}: ${i.message}`))
}

function firstOf(all: readonly string[]): string {
  const reasons = all.slice(0, 3)
  const more = all.length - reasons.length
  return reasons.join('; ') + (more > 0 ? `; ${more} more` : '')
}
