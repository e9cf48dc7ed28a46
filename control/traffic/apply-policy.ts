import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import type { ConfigChange } from '#control/config-changes.ts'
import { groupFrom, loadFleet, policyFrom } from '#control/load-fleet.ts'
import { newId } from '#control/new-id.ts'
import type { Tx } from '#control/store/database.ts'
import type { TrafficPolicyRow } from '#control/store/policies.ts'
import { deletePolicy, loadGroups, loadPolicies, loadPolicy, savePolicy } from '#control/store/policies.ts'
import { appendHistory, historyName, lockPolicies } from '#control/store/policy-history.ts'
import { firstRevision, refuse, rehearseWish, standing, storedSpec, type Wish } from '#control/traffic/next-fleet.ts'
import { checkPlan, checkPlanned } from '#control/traffic/plan.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { checkPolicy, type PolicyCheck } from '#mesh/policy/check-policy.ts'
import { checkObjectName, parsePolicySpec } from '#mesh/policy/parse-policy.ts'
import { policyFactsOf } from '#mesh/policy/policy-facts.ts'

export type PolicyName = { readonly namespace: string; readonly name: string }

/**
 * A change of one policy. `expected`: the revision that the caller has seen (If-Match); `plan`: the hash of the plan that
 * he has seen.
 */
export type PolicyChange = PolicyName & {
  readonly spec: unknown
  readonly expected?: number | undefined
  readonly plan?: string | undefined
  readonly reason?: string | undefined
}

/** What became of a change; `warnings` are for its author and stop nothing. */
export type Applied<Row> = {
  readonly row: Row
  readonly created: boolean
  /** It stood so already. */
  readonly unchanged?: true
  readonly warnings: readonly string[]
}

/** As many as a mesh takes: each is looked at for every service. */
const policiesMax = 1000

/**
 * Writes a policy. Configs follow by the publish that this asks for. The same again changes nothing. Throws `invalid` with
 * every reason at once, `stale` where `expected` is not the revision any more or `plan` not what it would do, `conflict`
 * where there are too many.
 */
export async function applyPolicy(
  centre: Centre,
  caller: Caller,
  change: PolicyChange,
): Promise<Applied<TrafficPolicyRow>> {
  const { namespace, name } = change
  checkObjectName({ namespace, name })
  const wanted: TrafficPolicy = { namespace, name, revision: 0, origin: 'api', spec: parsePolicySpec(change.spec) }
  const fleet = await centre.db.read((tx) => loadFleet(tx, centre.mesh, new Map()))
  const spec = storedSpec(wanted.spec)
  const planned = await plannedAt(centre, change, spec)
  const result = await centre.db.transact(async (tx) => {
    const policies = await lockPolicies(tx, centre.mesh)
    const old = await loadPolicy(tx, centre.mesh, change)
    checkExpected(change, old?.revision ?? 0, change.expected)
    const check = await checked(tx, centre, wanted, fleet)
    if (old?.spec === spec) return { row: old, created: false, unchanged: true as const, warnings: standing(check) }
    checkPlanned(wishOf(change), planned, policies)
    refuse(wanted, check)
    const row = await writePolicy(centre, tx, caller, { ...change, spec })
    return { row, created: !old, warnings: check.warnings }
  })
  centre.bus.announce({ kind: 'outbox' })
  return result
}

/** Takes a policy away: the next less specific one governs, or the default order. False where there was none. */
export async function removePolicy(
  centre: Centre,
  caller: Caller,
  change: Omit<PolicyChange, 'spec'>,
): Promise<boolean> {
  const planned = await plannedAt(centre, { ...change, spec: undefined })
  const removed = await centre.db.transact(async (tx) => {
    const policies = await lockPolicies(tx, centre.mesh)
    const old = await loadPolicy(tx, centre.mesh, change)
    checkExpected(change, old?.revision ?? 0, change.expected)
    if (!old) return false
    checkPlanned(wishOf({ ...change, spec: undefined }), planned, policies)
    await writePolicy(centre, tx, caller, { ...change, spec: '' })
    return true
  })
  if (removed) centre.bus.announce({ kind: 'outbox' })
  return removed
}

/**
 * Which configs a change of policies would move, and how, without changing anything. `spec` absent = the policy goes.
 * Throws what `applyPolicy` would.
 */
export const rehearsePolicy = (
  centre: Centre,
  change: PolicyName & { readonly spec?: unknown },
): Promise<readonly ConfigChange[]> => rehearseWish(centre, wishOf(change))

const wishOf = ({ namespace, name, spec }: PolicyName & { readonly spec?: unknown }): Wish => ({
  ...{ kind: 'GlobalTrafficPolicy', namespace, name },
  ...(spec === undefined ? {} : { spec }),
})

/** Where a plan is named: what it stands on. What stands as it is wished already needs none: it was done before. */
async function plannedAt(centre: Centre, change: PolicyChange, spec?: string): Promise<number | undefined> {
  if (change.plan === undefined) return undefined
  const old = await centre.db.read((tx) => loadPolicy(tx, centre.mesh, change))
  return old?.spec === spec ? undefined : checkPlan(centre, wishOf(change), change.plan)
}

/** Under the lock: two policies that tie are never both written. */
async function checked(tx: Tx, centre: Centre, wanted: TrafficPolicy, fleet: Fleet): Promise<PolicyCheck> {
  const rows = await loadPolicies(tx, centre.mesh)
  const others = rows.filter((row) => row.namespace !== wanted.namespace || row.name !== wanted.name)
  if (others.length >= policiesMax)
    throw new Problem('conflict', `mesh "${centre.mesh}" has ${others.length} policies, which is the most: remove some`)
  // Of policy sources as they were a moment ago: what they write gives way to what is written here.
  const theirs = (fleet.groups ?? []).filter(({ from }) => from)
  const groups = [...(await loadGroups(tx, centre.mesh)).map(groupFrom), ...theirs]
  const read = others.flatMap((row) => policyFrom(row) ?? [])
  const members = (fleet.policies ?? []).filter(({ origin }) => origin !== 'api')
  return checkPolicy(wanted, policyFactsOf({ ...fleet, groups }, [...read, ...members]))
}

/** A checked change of a policy as it is stored; '' = it goes. */
export type StoredChange = PolicyName & { readonly spec: string; readonly reason?: string | undefined }

/**
 * Writes the next state of a policy and asks for what follows. Only under the lock of policies, and where it is a change.
 * Gives back the row as it is then, or as it was when it went.
 */
export async function writePolicy(
  centre: Centre,
  tx: Tx,
  caller: Caller,
  change: StoredChange,
): Promise<TrafficPolicyRow> {
  const old = await loadPolicy(tx, centre.mesh, change)
  const row = await rowOf(centre, tx, change, old)
  if (change.spec === '') await deletePolicy(tx, row)
  else await savePolicy(tx, row)
  await remember(centre, tx, caller, { ...change, revision: row.revision })
  return row
}

async function rowOf(
  centre: Centre,
  tx: Tx,
  { namespace, name, spec }: StoredChange,
  old: TrafficPolicyRow | undefined,
): Promise<TrafficPolicyRow> {
  const now = centre.now()
  if (old) return { ...old, spec, revision: old.revision + 1, updatedAt: now }
  const revision = await firstRevision(tx, centre.mesh, historyName.policy({ namespace, name }))
  return { ...{ mesh: centre.mesh, namespace, name, id: newId(now), spec, revision }, createdAt: now, updatedAt: now }
}

async function remember(
  centre: Centre,
  tx: Tx,
  caller: Caller,
  change: StoredChange & { readonly revision: number },
): Promise<void> {
  const { spec, revision, reason = '' } = change
  const object = historyName.policy(change)
  const by = callerText(caller)
  await appendHistory(tx, { mesh: centre.mesh, object, revision, spec, by, reason, at: centre.now() })
  const action = spec === '' ? 'traffic-policy.delete' : 'traffic-policy.apply'
  const shown = `policy ${change.namespace}/${change.name}`
  await audited(centre, tx, caller, { action, object: shown, detail: { revision, ...(reason ? { reason } : {}) } })
  await askPublish(centre, tx, { cause: `${shown}@${revision}`, author: by })
}

function checkExpected({ namespace, name }: PolicyName, revision: number, expected: number | undefined): void {
  if (expected === undefined || expected === revision) return
  const why = `policy ${namespace}/${name} is at revision ${revision} now: read it again`
  throw new Problem('stale', why, { extra: { revision } })
}
