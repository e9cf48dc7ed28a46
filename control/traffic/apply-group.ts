import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { type ConfigChange, configChanges } from '#control/config-changes.ts'
import { loadFleet, policyFrom } from '#control/load-fleet.ts'
import { newId } from '#control/new-id.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { deleteGroup, loadGroup, loadPolicies, type SamenessGroupRow, saveGroup } from '#control/store/policies.ts'
import { appendHistory, historyName, loadPolicyHistory, lockPolicies } from '#control/store/policy-history.ts'
import type { Applied } from '#control/traffic/apply-policy.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'
import { policyName } from '#mesh/model/traffic-policy.ts'
import { checkObjectName, parseGroupSpec } from '#mesh/policy/parse-policy.ts'

/** A change of one group. `expected`: the revision that the caller has seen (If-Match). */
export type GroupChange = {
  readonly name: string
  readonly spec: unknown
  readonly expected?: number | undefined
  readonly reason?: string | undefined
}

/**
 * Writes a sameness group. Policies and lists of consumers that name it mean its clusters from the publish on that this
 * asks for. A cluster that is no member (yet) is a warning. Throws `invalid`, `stale`.
 */
export async function applyGroup(
  centre: Centre,
  caller: Caller,
  change: GroupChange,
): Promise<Applied<SamenessGroupRow>> {
  const { name } = change
  checkObjectName({ name })
  const wanted = parseGroupSpec(change.spec).clusters
  const result = await centre.db.transact(async (tx) => {
    await lockPolicies(tx, centre.mesh)
    const old = await loadGroup(tx, centre.mesh, name)
    checkExpected(name, old?.revision ?? 0, change.expected)
    const members = new Set((await loadMembers(tx, centre.mesh)).map((row) => row.name))
    const strangers = wanted.filter((one) => !members.has(one))
    const warnings = strangers.length > 0 ? [`no cluster of this mesh (yet): ${someOf(strangers)}`] : []
    const clusters = canonicalJson(wanted)
    if (old?.clusters === clusters) return { row: old, created: false, warnings }
    const row = await rowOf(centre, tx, name, { old, clusters })
    await saveGroup(tx, row)
    await remember(centre, tx, caller, { ...change, spec: clusters, revision: row.revision })
    return { row, created: !old, warnings }
  })
  centre.bus.announce({ kind: 'outbox' })
  return result
}

/** Takes a group away. False where there was none. Throws `conflict` while a policy names it. */
export async function removeGroup(centre: Centre, caller: Caller, change: Omit<GroupChange, 'spec'>): Promise<boolean> {
  const { name } = change
  const removed = await centre.db.transact(async (tx) => {
    await lockPolicies(tx, centre.mesh)
    const old = await loadGroup(tx, centre.mesh, name)
    checkExpected(name, old?.revision ?? 0, change.expected)
    if (!old) return false
    refuseUsed(name, await usersOf(tx, centre, name))
    await deleteGroup(tx, old)
    await remember(centre, tx, caller, { ...change, spec: '', revision: old.revision + 1 })
    return true
  })
  if (removed) centre.bus.announce({ kind: 'outbox' })
  return removed
}

/** Which configs a change of a group would move, and how, without changing anything. `spec` absent = the group goes. */
export async function rehearseGroup(
  centre: Centre,
  { name, spec }: { readonly name: string; readonly spec?: unknown },
): Promise<readonly ConfigChange[]> {
  checkObjectName({ name })
  const fleet = await centre.db.read((tx) => loadFleet(tx, centre.mesh, new Map()))
  const others = (fleet.groups ?? []).filter((group) => group.name !== name)
  const wanted = spec === undefined ? [] : [{ name, ...parseGroupSpec(spec), revision: 0 }]
  if (spec === undefined) refuseUsed(name, await centre.db.read((tx) => usersOf(tx, centre, name)))
  return configChanges(fleet, { ...fleet, groups: [...others, ...wanted] })
}

function refuseUsed(name: string, users: readonly string[]): void {
  if (users.length > 0)
    throw new Problem('conflict', `group ${name} is named by policy ${someOf(users)}: take it out there first`)
}

async function usersOf(tx: Tx, centre: Centre, group: string): Promise<string[]> {
  const policies = (await loadPolicies(tx, centre.mesh)).flatMap((row) => policyFrom(row) ?? [])
  return policies
    .filter(({ spec }) => spec.tiers?.some((tier) => tier.targets.some((one) => 'group' in one && one.group === group)))
    .map(policyName)
}

/** One that is made anew goes on where the one of its name ended: a revision means one state for ever. */
async function rowOf(
  centre: Centre,
  tx: Tx,
  name: string,
  { old, clusters }: { readonly old: SamenessGroupRow | undefined; readonly clusters: string },
): Promise<SamenessGroupRow> {
  const now = centre.now()
  if (old) return { ...old, clusters, revision: old.revision + 1, updatedAt: now }
  const [last] = await loadPolicyHistory(tx, centre.mesh, historyName.group(name), { limit: 1 })
  const revision = (last?.revision ?? 0) + 1
  return { ...{ mesh: centre.mesh, name, id: newId(now), clusters, revision }, createdAt: now, updatedAt: now }
}

async function remember(
  centre: Centre,
  tx: Tx,
  caller: Caller,
  change: {
    readonly name: string
    readonly spec: string
    readonly revision: number
    readonly reason?: string | undefined
  },
): Promise<void> {
  const { name, spec, revision, reason = '' } = change
  const by = callerText(caller)
  const object = historyName.group(name)
  await appendHistory(tx, { mesh: centre.mesh, object, revision, spec, by, reason, at: centre.now() })
  const action = spec === '' ? 'sameness-group.delete' : 'sameness-group.apply'
  await audited(centre, tx, caller, {
    ...{ action, object: `group ${name}` },
    detail: { revision, ...(reason ? { reason } : {}) },
  })
  await askPublish(centre, tx, { cause: `group ${name}@${revision}`, author: by })
}

function checkExpected(name: string, revision: number, expected: number | undefined): void {
  if (expected === undefined || expected === revision) return
  throw new Problem('stale', `group ${name} is at revision ${revision} now: read it again`, { extra: { revision } })
}
