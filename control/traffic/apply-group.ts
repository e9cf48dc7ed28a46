import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import type { ConfigChange } from '#control/config-changes.ts'
import { newId } from '#control/new-id.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { deleteGroup, loadGroup, type SamenessGroupRow, saveGroup } from '#control/store/policies.ts'
import { appendHistory, historyName, lockPolicies } from '#control/store/policy-history.ts'
import type { Applied } from '#control/traffic/apply-policy.ts'
import {
  firstRevision,
  groupWarnings,
  readPolicies,
  refuseUsed,
  rehearseWish,
  type Wish,
} from '#control/traffic/next-fleet.ts'
import { checkPlan, checkPlanned } from '#control/traffic/plan.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { checkObjectName, parseGroupSpec } from '#mesh/policy/parse-policy.ts'

/**
 * A change of one group. `expected`: the revision that the caller has seen (If-Match); `plan`: the hash of the plan that
 * he has seen.
 */
export type GroupChange = {
  readonly name: string
  readonly spec: unknown
  readonly expected?: number | undefined
  readonly plan?: string | undefined
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
  const clusters = canonicalJson(wanted)
  const planned = await plannedAt(centre, change, clusters)
  const result = await centre.db.transact(async (tx) => {
    const policies = await lockPolicies(tx, centre.mesh)
    const old = await loadGroup(tx, centre.mesh, name)
    checkExpected(name, old?.revision ?? 0, change.expected)
    const members = (await loadMembers(tx, centre.mesh)).map((row) => row.name)
    const warnings = groupWarnings({ name, clusters: wanted }, members, await readPolicies(tx, centre.mesh))
    if (old?.clusters === clusters) return { row: old, created: false, unchanged: true as const, warnings }
    checkPlanned(wishOf(change), planned, policies)
    return { row: await writeGroup(centre, tx, caller, { ...change, clusters }), created: !old, warnings }
  })
  centre.bus.announce({ kind: 'outbox' })
  return result
}

/** Takes a group away. False where there was none. Throws `conflict` while a policy names it. */
export async function removeGroup(centre: Centre, caller: Caller, change: Omit<GroupChange, 'spec'>): Promise<boolean> {
  const { name } = change
  const planned = await plannedAt(centre, { ...change, spec: undefined })
  const removed = await centre.db.transact(async (tx) => {
    const policies = await lockPolicies(tx, centre.mesh)
    const old = await loadGroup(tx, centre.mesh, name)
    checkExpected(name, old?.revision ?? 0, change.expected)
    if (!old) return false
    checkPlanned(wishOf({ name }), planned, policies)
    refuseUsed(name, await readPolicies(tx, centre.mesh))
    await writeGroup(centre, tx, caller, { ...change, clusters: '' })
    return true
  })
  if (removed) centre.bus.announce({ kind: 'outbox' })
  return removed
}

/** Which configs a change of a group would move, and how, without changing anything. `spec` absent = the group goes. */
export const rehearseGroup = (
  centre: Centre,
  change: { readonly name: string; readonly spec?: unknown },
): Promise<readonly ConfigChange[]> => rehearseWish(centre, wishOf(change))

const wishOf = ({ name, spec }: { readonly name: string; readonly spec?: unknown }): Wish => ({
  ...{ kind: 'SamenessGroup', name },
  ...(spec === undefined ? {} : { spec }),
})

/** Where a plan is named: what it stands on. What stands as it is wished already needs none: it was done before. */
async function plannedAt(centre: Centre, change: GroupChange, clusters?: string): Promise<number | undefined> {
  if (change.plan === undefined) return undefined
  const old = await centre.db.read((tx) => loadGroup(tx, centre.mesh, change.name))
  return old?.clusters === clusters ? undefined : checkPlan(centre, wishOf(change), change.plan)
}

/** A checked change of a group as it is stored; '' = it goes. */
type StoredChange = { readonly name: string; readonly clusters: string; readonly reason?: string | undefined }

/** As `writePolicy`, for a group. */
export async function writeGroup(
  centre: Centre,
  tx: Tx,
  caller: Caller,
  change: StoredChange,
): Promise<SamenessGroupRow> {
  const row = await rowOf(centre, tx, change, await loadGroup(tx, centre.mesh, change.name))
  if (change.clusters === '') await deleteGroup(tx, row)
  else await saveGroup(tx, row)
  await remember(centre, tx, caller, { ...change, revision: row.revision })
  return row
}

async function rowOf(
  centre: Centre,
  tx: Tx,
  { name, clusters }: StoredChange,
  old: SamenessGroupRow | undefined,
): Promise<SamenessGroupRow> {
  const now = centre.now()
  if (old) return { ...old, clusters, revision: old.revision + 1, updatedAt: now }
  const revision = await firstRevision(tx, centre.mesh, historyName.group(name))
  return { ...{ mesh: centre.mesh, name, id: newId(now), clusters, revision }, createdAt: now, updatedAt: now }
}

async function remember(
  centre: Centre,
  tx: Tx,
  caller: Caller,
  change: StoredChange & { readonly revision: number },
): Promise<void> {
  const { name, clusters: spec, revision, reason = '' } = change
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
