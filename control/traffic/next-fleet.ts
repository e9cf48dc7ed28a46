import type { Centre } from '#control/centre.ts'
import { type ConfigChange, configChanges } from '#control/config-changes.ts'
import { loadFleet, policyFrom } from '#control/load-fleet.ts'
import type { Tx } from '#control/store/database.ts'
import { loadGroup, loadPolicies, loadPolicy } from '#control/store/policies.ts'
import { historyName, loadPolicyHistory } from '#control/store/policy-history.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'
import {
  policyName,
  type SamenessGroup,
  type TrafficPolicy,
  type TrafficPolicySpec,
} from '#mesh/model/traffic-policy.ts'
import { checkPolicy, type PolicyCheck } from '#mesh/policy/check-policy.ts'
import { checkObjectName, parseGroupSpec, parsePolicySpec } from '#mesh/policy/parse-policy.ts'
import { policyFactsOf } from '#mesh/policy/policy-facts.ts'

/** A change of one policy or group; `spec` absent = it is taken away. */
export type Wish =
  | { readonly kind: 'GlobalTrafficPolicy'; readonly namespace: string; readonly name: string; readonly spec?: unknown }
  | { readonly kind: 'SamenessGroup'; readonly name: string; readonly spec?: unknown }

/** A fleet once a wish is done. Without `isChange` everything stands as it is wished already. */
export type Next = { readonly fleet: Fleet; readonly isChange: boolean; readonly warnings: readonly string[] }

/**
 * The fleet as it would be after a change of its policies, which is not done. Throws what doing it would: `invalid` with
 * every reason, `conflict` for a group that is named.
 */
export const nextFleet = (tx: Tx, fleet: Fleet, wish: Wish): Promise<Next> =>
  wish.kind === 'SamenessGroup' ? nextGroups(tx, fleet, wish) : nextPolicies(tx, fleet, wish)

/** Which configs a wish would move, and how, without doing it. Throws what doing it would. */
export async function rehearseWish(centre: Centre, wish: Wish): Promise<readonly ConfigChange[]> {
  const { fleet, next } = await centre.db.read(async (tx) => {
    const fleet = await loadFleet(tx, centre.mesh, new Map())
    return { fleet, next: await nextFleet(tx, fleet, wish) }
  })
  return configChanges(fleet, next.fleet)
}

async function nextPolicies(
  tx: Tx,
  fleet: Fleet,
  change: Wish & { readonly kind: 'GlobalTrafficPolicy' },
): Promise<Next> {
  const { namespace, name } = change
  checkObjectName({ namespace, name })
  const others = (fleet.policies ?? []).filter((one) => !isOperators(one, change))
  const row = await loadPolicy(tx, fleet.mesh, change)
  if (change.spec === undefined)
    return { fleet: { ...fleet, policies: others }, isChange: row !== undefined, warnings: [] }
  const spec = parsePolicySpec(change.spec)
  const revision = row ? row.revision + 1 : await firstRevision(tx, fleet.mesh, historyName.policy(change))
  const wanted: TrafficPolicy = { namespace, name, revision, origin: 'api', spec }
  const check = checkPolicy(wanted, policyFactsOf(fleet, others))
  if (row?.spec === storedSpec(spec)) return { fleet, isChange: false, warnings: standing(check) }
  refuse(wanted, check)
  return { fleet: { ...fleet, policies: [...others, wanted] }, isChange: true, warnings: check.warnings }
}

async function nextGroups(tx: Tx, fleet: Fleet, change: Wish & { readonly kind: 'SamenessGroup' }): Promise<Next> {
  const { name } = change
  checkObjectName({ name })
  const others = (fleet.groups ?? []).filter((group) => group.from || group.name !== name)
  const row = await loadGroup(tx, fleet.mesh, name)
  if (change.spec === undefined) {
    if (row) refuseUsed(name, fleet.policies ?? [])
    return { fleet: { ...fleet, groups: others }, isChange: row !== undefined, warnings: [] }
  }
  const { clusters } = parseGroupSpec(change.spec)
  const members = fleet.members.map((member) => member.name)
  const warnings = groupWarnings({ name, clusters }, members, fleet.policies ?? [])
  if (row?.clusters === canonicalJson(clusters)) return { fleet, isChange: false, warnings }
  const revision = row ? row.revision + 1 : await firstRevision(tx, fleet.mesh, historyName.group(name))
  return { fleet: { ...fleet, groups: [...others, { name, clusters, revision }] }, isChange: true, warnings }
}

/** True for the operators' own policy of that name: members may have others. */
export const isOperators = (
  { origin, namespace, name }: TrafficPolicy,
  named: { readonly namespace: string; readonly name: string },
): boolean => origin === 'api' && namespace === named.namespace && name === named.name

/** Of one that is made: made anew it goes on where the one of its name ended, as a revision means one state for ever. */
export async function firstRevision(tx: Tx, mesh: MeshName, object: string): Promise<number> {
  const [last] = await loadPolicyHistory(tx, mesh, object, { limit: 1 })
  return (last?.revision ?? 0) + 1
}

/** What stands may stand, even where the fleet has moved under it: its author hears what would be refused by now. */
export const standing = ({ violations, warnings }: PolicyCheck): readonly string[] => [
  ...violations.map(({ path, reason }) => `${path}: ${reason}`),
  ...warnings,
]

/** A spec as it is stored. */
export const storedSpec = (spec: TrafficPolicySpec): string =>
  canonicalJson({ ...spec } as { readonly [k: string]: Json })

/** Throws `invalid` with every reason. */
export function refuse({ namespace, name }: TrafficPolicy, { violations }: PolicyCheck): void {
  const [first] = violations
  if (!first) return
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : ''
  throw new Problem('invalid', `policy ${namespace}/${name}: ${first.path}: ${first.reason}${more}`, { violations })
}

/** Throws `conflict` where a policy names the group. */
export function refuseUsed(group: string, policies: readonly TrafficPolicy[]): void {
  const users = usersOf(group, policies)
  if (users.length > 0)
    throw new Problem('conflict', `group ${group} is named by policy ${someOf(users)}: take it out there first`)
}

/** All policies that this version can read. */
export const readPolicies = async (tx: Tx, mesh: MeshName): Promise<TrafficPolicy[]> =>
  (await loadPolicies(tx, mesh)).flatMap((row) => policyFrom(row) ?? [])

/** What the author of a group should know: clusters that are no members, and policies that name it in vain now. */
export function groupWarnings(
  { name, clusters }: Pick<SamenessGroup, 'name' | 'clusters'>,
  members: readonly string[],
  policies: readonly TrafficPolicy[],
): string[] {
  const known = new Set(members)
  const unknown = clusters.filter((one) => !known.has(one))
  const users = unknown.length === clusters.length ? usersOf(name, policies) : []
  return [
    ...(unknown.length > 0 ? [`no cluster of this mesh (yet): ${someOf(unknown)}`] : []),
    ...(users.length > 0 ? [`it stands for nobody now, and policy ${someOf(users)} names it`] : []),
  ]
}

/** Of the operators: a member's own policy keeps nobody from taking a group away. */
const usersOf = (group: string, policies: readonly TrafficPolicy[]): readonly string[] =>
  policies
    .filter(({ origin }) => origin === 'api')
    .filter(({ spec }) => spec.tiers?.some((tier) => tier.targets.some((one) => 'group' in one && one.group === group)))
    .map(policyName)
