import type { SamenessGroup, TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { policyName } from '#mesh/model/traffic-policy.ts'

/** One that counts for less than its author may think, because another of its name goes before it. */
export type Overruled<T> = { readonly one: T; readonly by: string }

export type Settled<T> = { readonly items: readonly T[]; readonly overruled: readonly Overruled<T>[] }

/**
 * Policies as they count: of several that count for the whole mesh under one name the operator's stands, else the one that
 * has been in force the longest, else the first by cluster. The others go on for the callers of their own cluster alone.
 * What is not touched is the same object, and so is what becomes of the same policy another time.
 */
export function settledPolicies(policies: readonly TrafficPolicy[] = []): Settled<TrafficPolicy> {
  const wide = policies.filter((policy) => policy.meshWide !== undefined && policy.origin !== 'api')
  if (wide.length === 0) return { items: policies, overruled: [] }
  const named = ({ namespace, name }: TrafficPolicy): string => `${namespace}/${name}`
  const standing = new Map(policies.filter(({ origin }) => origin === 'api').map((one) => [named(one), one]))
  const overruled: Overruled<TrafficPolicy>[] = []
  for (const policy of wide.toSorted(olderFirst)) {
    const first = standing.get(named(policy))
    if (first) overruled.push({ one: policy, by: byWhom(first.origin, policyName(first)) })
    else standing.set(named(policy), policy)
  }
  const lost = new Set(overruled.map(({ one }) => one))
  return { items: policies.map((policy) => (lost.has(policy) ? ownOnly(policy) : policy)), overruled }
}

/** As `settledPolicies`, for groups: one that is overruled stands for nobody. */
export function settledGroups(groups: readonly SamenessGroup[] = []): Settled<SamenessGroup> {
  if (!groups.some(({ from }) => from)) return { items: groups, overruled: [] }
  const standing = new Map<string, SamenessGroup>()
  const overruled: Overruled<SamenessGroup>[] = []
  for (const group of groups.toSorted((a, b) => compareSince(a.from, b.from))) {
    const first = standing.get(group.name)
    if (first) overruled.push({ one: group, by: byWhom(first.from?.cluster ?? 'api', first.name) })
    else standing.set(group.name, group)
  }
  const lost = new Set(overruled.map(({ one }) => one))
  return { items: groups.filter((group) => !lost.has(group)), overruled }
}

const byWhom = (origin: string, name: string): string =>
  origin === 'api' ? `the operator's own ${name}` : `${name} of cluster ${origin}, which is older`

const ownParts = new WeakMap<TrafficPolicy, TrafficPolicy>()

function ownOnly(policy: TrafficPolicy): TrafficPolicy {
  const known = ownParts.get(policy)
  if (known) return known
  const { meshWide: _, ...own } = policy
  ownParts.set(policy, own)
  return own
}

const olderFirst = (a: TrafficPolicy, b: TrafficPolicy): number =>
  (a.meshWide ?? 0) - (b.meshWide ?? 0) || compareText(a.origin, b.origin)

type From = SamenessGroup['from']
const compareSince = (a: From, b: From): number =>
  a && b ? a.since - b.since || compareText(a.cluster, b.cluster) : Number(a !== undefined) - Number(b !== undefined)

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
