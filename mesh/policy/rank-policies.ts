import { type ClusterName, partsOf, type ServiceKey } from '#mesh/model/id.ts'
import type { Selector, TrafficPolicy, TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'

type Labels = Readonly<Record<string, string>>

/**
 * True where the policy selects the service. Names without a namespace are of the policy's own: a policy for `reviews`
 * of one team is not one for everybody's. Labels, and a selector that says nothing, reach the whole mesh.
 */
export function selects(policy: Pick<TrafficPolicy, 'namespace' | 'spec'>, key: ServiceKey, labels: Labels): boolean {
  const { namespace, name } = partsOf(key)
  const { names, labels: asked = {}, ...services } = policy.spec.services
  const within = services.namespace ?? (names ? policy.namespace : undefined)
  if (within !== undefined && within !== namespace) return false
  if (names && !names.includes(name)) return false
  return Object.entries(asked).every(([label, value]) => labels[label] === value)
}

/** How exactly a selector names services; compare by `moreSpecific`. */
export type Specificity = readonly [names: number, labels: number, namespace: number]

export const specificityOf = ({ names, labels, namespace }: Selector): Specificity => [
  names ? 1 : 0,
  Object.keys(labels ?? {}).length,
  names || namespace !== undefined ? 1 : 0,
]

/** Below zero where `a` comes first. */
export const moreSpecific = (a: Specificity, b: Specificity): number => b[0] - a[0] || b[1] - a[1] || b[2] - a[2]

/** True where a policy counts for the callers of every cluster. */
export const isMeshWide = ({ origin, meshWide }: TrafficPolicy): boolean => origin === 'api' || meshWide !== undefined

/**
 * The policies for a service, the one that governs first: those of the callers' own cluster before those of the mesh,
 * names before labels (more of them first) before a namespace before the whole mesh. Of equals, which are refused where
 * they are written, the operator's goes before a policy source's, then the oldest, then the first by namespace and name.
 */
export function rankedFor(
  key: ServiceKey,
  labels: Labels,
  caller: ClusterName | undefined,
  policies: readonly TrafficPolicy[],
): readonly TrafficPolicy[] {
  const isOwn = ({ origin }: TrafficPolicy): boolean => origin === caller
  const since = ({ origin, meshWide = 0 }: TrafficPolicy): number =>
    origin === 'api' || origin === caller ? 0 : meshWide
  const isTheirs = ({ origin }: TrafficPolicy): boolean => origin !== 'api'
  const named = ({ namespace, name, origin }: TrafficPolicy): string => `${namespace}/${name} ${origin}`
  return policies
    .filter((policy) => (isOwn(policy) || isMeshWide(policy)) && selects(policy, key, labels))
    .toSorted(
      (a, b) =>
        Number(isOwn(b)) - Number(isOwn(a)) ||
        moreSpecific(specificityOf(a.spec.services), specificityOf(b.spec.services)) ||
        Number(isTheirs(a)) - Number(isTheirs(b)) ||
        since(a) - since(b) ||
        (named(a) < named(b) ? -1 : 1),
    )
}

/**
 * The policy in force for a service and the callers of a cluster: the one that governs, its absent fields filled from
 * the next less specific one and so on; so a policy for a namespace or the mesh is the default of those for services.
 * Undefined where none selects it.
 */
export function policyFor(
  key: ServiceKey,
  labels: Labels,
  caller: ClusterName | undefined,
  policies: readonly TrafficPolicy[],
): TrafficPolicy | undefined {
  const [governs, ...defaults] = rankedFor(key, labels, caller, policies)
  if (!governs) return undefined
  return { ...governs, spec: defaults.reduce((spec, { spec: below }) => filled(spec, below), governs.spec) }
}

/** Groups of settings of which each is its own; `tiers`, `probe` and the rest are one thing each. */
const groups = ['retries', 'timeouts', 'ejection', 'failback', 'connections'] as const

function filled(spec: TrafficPolicySpec, below: TrafficPolicySpec): TrafficPolicySpec {
  const inGroups = groups.flatMap((group) =>
    spec[group] || below[group] ? [[group, { ...below[group], ...spec[group] }] as const] : [],
  )
  const ejection = ejectionOf(spec.ejection, below.ejection)
  return { ...below, ...spec, ...Object.fromEntries(inGroups), ...(ejection ? { ejection } : {}) }
}

type Ejection = NonNullable<TrafficPolicySpec['ejection']>

/**
 * Its two times are checked against each other within one policy only. Where they come of two, the less specific one's
 * gives way: Envoy refuses a first ejection that is longer than the longest, and all of the service with it.
 */
function ejectionOf(own: Ejection = {}, below: Ejection = {}): Ejection | undefined {
  const { baseSeconds = 0, maxSeconds = Number.POSITIVE_INFINITY } = { ...below, ...own }
  if (baseSeconds <= maxSeconds) return undefined
  const { baseSeconds: _base, maxSeconds: _max, ...rest } = below
  return { ...rest, ...own }
}
