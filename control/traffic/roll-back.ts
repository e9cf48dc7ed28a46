import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { loadNumberedFleet } from '#control/load-fleet.ts'
import { loadClusterByName } from '#control/store/clusters.ts'
import { loadCompiledHead } from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import { loadGroup, loadGroups, loadPolicies, loadPolicy } from '#control/store/policies.ts'
import {
  historyKeptMs,
  historyName,
  loadChangeAt,
  loadPoliciesAt,
  loadPolicySeq,
  loadPolicyState,
  lockPolicies,
} from '#control/store/policy-history.ts'
import { writeGroup } from '#control/traffic/apply-group.ts'
import { writePolicy } from '#control/traffic/apply-policy.ts'
import { isPolicyObject, memberObjectIn } from '#control/traffic/history.ts'
import {
  firstRevision,
  groupWarnings,
  isOperators,
  refuseUsed,
  storedSpec,
  type Wish,
} from '#control/traffic/next-fleet.ts'
import { type CentrePlan, noFacts, objectOf } from '#control/traffic/plan.ts'
import type { ForecastFacts } from '#mesh/foresee/forecast.ts'
import { planOf } from '#mesh/foresee/plan.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { policyName, type TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { checkPolicy } from '#mesh/policy/check-policy.ts'
import { parseGroupSpec, parsePolicySpec } from '#mesh/policy/parse-policy.ts'
import { policyFactsOf } from '#mesh/policy/policy-facts.ts'

/**
 * What is gone back to: all policies and groups of the moment in which a cluster's config was compiled (`object` is the
 * cluster), or one state of a policy (`gtp/<namespace>/<name>`) or a group (`group/<name>`).
 */
export type Moment = { readonly object: string; readonly revision: number }

export type RolledBack = { readonly objects: readonly string[]; readonly warnings: readonly string[] }

/** What going back would do; nothing is stored. Throws what `rollBack` would. */
export async function planRollBack(
  centre: Centre,
  to: Moment,
  facts: () => Promise<ForecastFacts>,
): Promise<CentrePlan> {
  const ahead = await foresee(centre, to)
  const plan = planOf(ahead.fleet, [stepOf(ahead, to)], await facts())
  const steps = ahead.wishes.map((wish, at) => ({
    ...{ object: shownOf(wish), hash: plan.hash, unchanged: false },
    warnings: at === 0 ? ahead.warnings : [],
  }))
  return { ...plan, steps }
}

/**
 * Writes policies and groups as they were once: as new revisions, all of them or none. Only what an operator writes goes
 * back. Configs are compiled anew, of the fleet as it is: who is trusted, who is a member and what is exported stay what
 * they are now.
 *
 * Throws `not-found` for what is not kept (any more), `invalid` with every reason why a policy of then cannot stand in the
 * fleet of now, `stale` where policies changed meanwhile or `plan` is not what it would do.
 */
export async function rollBack(
  centre: Centre,
  caller: Caller,
  {
    to,
    reason = '',
    plan,
  }: { readonly to: Moment; readonly reason?: string | undefined; readonly plan?: string | undefined },
): Promise<RolledBack> {
  const ahead = await foresee(centre, to)
  const objects = ahead.wishes.map(shownOf)
  if (objects.length === 0) return { objects, warnings: ahead.warnings }
  if (plan !== undefined && planOf(ahead.fleet, [stepOf(ahead, to)], noFacts).hash !== plan) throw movedOn(to)
  const cause = `rollback to ${textOf(to)}`
  const why = reason === '' ? cause : `${cause}: ${reason}`
  await centre.db.transact(async (tx) => {
    if ((await lockPolicies(tx, centre.mesh)) !== ahead.policies) throw movedOn(to)
    await askPublish(centre, tx, { cause, author: callerText(caller) })
    await audited(centre, tx, caller, { action: 'policies.rollback', object: textOf(to), detail: { objects, reason } })
    for (const wish of ahead.wishes) await write(centre, tx, caller, wish, why)
  })
  centre.bus.announce({ kind: 'outbox' })
  return { objects, warnings: ahead.warnings }
}

/** With a word where it is taken away. */
const shownOf = (wish: Wish): string => `${objectOf(wish)}${wish.spec === undefined ? ' (goes)' : ''}`

async function write(centre: Centre, tx: Tx, caller: Caller, wish: Wish, reason: string): Promise<void> {
  const { spec } = wish
  if (wish.kind === 'SamenessGroup') {
    const clusters = spec === undefined ? '' : canonicalJson(parseGroupSpec(spec).clusters)
    await writeGroup(centre, tx, caller, { name: wish.name, clusters, reason })
    return
  }
  const { namespace, name } = wish
  const stored = spec === undefined ? '' : storedSpec(parsePolicySpec(spec))
  await writePolicy(centre, tx, caller, { namespace, name, spec: stored, reason })
}

const textOf = ({ object, revision }: Moment): string => `${object}@${revision}`

const movedOn = (to: Moment): Problem =>
  new Problem(
    'stale',
    `rollback to ${textOf(to)}: policies or the fleet have moved on meanwhile: look at its plan again`,
  )

type Ahead = {
  readonly fleet: Fleet
  /** The number of the last change of policies in it. */
  readonly policies: number
  readonly wishes: readonly Wish[]
  readonly after: Fleet
  readonly warnings: readonly string[]
}

const stepOf = ({ policies, after, wishes }: Ahead, to: Moment) => ({
  wish: { rollback: textOf(to), objects: wishes.map(objectOf) },
  policies,
  after,
})

const foresee = (centre: Centre, to: Moment): Promise<Ahead> =>
  centre.db.read(async (tx) => {
    const wishes = await wishesTo(tx, centre, to)
    const { fleet, policies } = await loadNumberedFleet(tx, centre.mesh, new Map())
    let after = fleet
    for (const wish of wishes) after = await withDone(tx, after, wish)
    return { fleet, policies, wishes, after, warnings: checked(after, wishes) }
  })

/** What differs from then, in an order in which a policy finds the groups that it names. */
async function wishesTo(tx: Tx, centre: Centre, to: Moment): Promise<Wish[]> {
  const { mesh } = centre
  const policies = await loadPolicies(tx, mesh)
  const groups = await loadGroups(tx, mesh)
  const now = new Map([
    ...groups.map((row) => [historyName.group(row.name), row.clusters] as const),
    ...policies.map((row) => [historyName.policy(row), row.spec] as const),
  ])
  const then = await statesAt(tx, centre, to, [...now.keys()])
  const all = [...then].filter(([object, spec]) => (now.get(object) ?? '') !== spec)
  const rank = (object: string, spec: string): number =>
    object.startsWith('group/') ? (spec === '' ? 3 : 0) : spec === '' ? 2 : 1
  return all
    .toSorted(([a, x], [b, y]) => rank(a, x) - rank(b, y) || (a < b ? -1 : 1))
    .map(([object, spec]) => wishOf(object, spec))
}

function wishOf(object: string, stored: string): Wish {
  const [kind, ...names] = object.split('/')
  const said = stored === '' ? undefined : (JSON.parse(stored) as Json)
  if (kind === 'group')
    return { kind: 'SamenessGroup', name: names[0] ?? '', ...(said === undefined ? {} : { spec: { clusters: said } }) }
  const [namespace = '', name = ''] = names
  return { kind: 'GlobalTrafficPolicy', namespace, name, ...(said === undefined ? {} : { spec: said }) }
}

/** The spec of every object that is to be as it was then, '' = it was not there. `known`: all that there are now. */
async function statesAt(
  tx: Tx,
  { mesh, now }: Centre,
  to: Moment,
  known: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { object, revision } = to
  if (isPolicyObject(object)) {
    if (!isOperatorsObject(object)) throw notOurs(object)
    const state = await loadPolicyState(tx, mesh, object, revision)
    if (!state) throw new Problem('not-found', `${object} has no revision ${revision} (any more)`)
    return new Map([[object, state.spec]])
  }
  const config = await loadCompiledHead(tx, mesh, object, revision)
  if (!config && !(await loadClusterByName(tx, mesh, object)))
    throw new Problem('not-found', `there is no cluster "${object}"; see: isthmus clusters`)
  if (!config) throw new Problem('not-found', `cluster "${object}" has no revision ${revision} (any more)`)
  const seq = config.policies
  if (seq === null || !(await isKept(tx, mesh, seq, now() - historyKeptMs)))
    throw new Problem('not-found', `the policies that ${textOf(to)} was compiled from are not kept (any more)`)
  const then = (await loadPoliciesAt(tx, mesh, seq)).filter((row) => isOperatorsObject(row.object))
  return new Map([...known.map((one) => [one, ''] as const), ...then.map((row) => [row.object, row.spec] as const)])
}

/** A policy or a group of the operators: whose word counts is trust, and what members write is theirs. */
const isOperatorsObject = (object: string): boolean => /^(gtp\/[^/]+\/[^/]+|group\/[^/]+)$/.test(object)

const notOurs = (object: string): Problem =>
  new Problem(
    'conflict',
    memberObjectIn(object)
      ? `${object} is among the objects of cluster ${memberObjectIn(object)?.cluster}: write there what it said then`
      : `${object} says whose word counts, which never goes back by itself: isthmus policy-sources --add, --remove`,
  )

/** Nothing that was in force then is forgotten: what followed it is no older than what is kept for certain. */
async function isKept(tx: Tx, mesh: MeshName, seq: number, since: number): Promise<boolean> {
  if (seq === (await loadPolicySeq(tx, mesh))) return true
  const followedAt = await loadChangeAt(tx, mesh, seq + 1)
  return followedAt !== undefined && followedAt >= since
}

/** The fleet with a wish done, unchecked: only together do all of them have to stand. */
async function withDone(tx: Tx, fleet: Fleet, wish: Wish): Promise<Fleet> {
  const { mesh } = fleet
  if (wish.kind === 'SamenessGroup') {
    const { name, spec } = wish
    const others = (fleet.groups ?? []).filter((group) => group.from || group.name !== name)
    if (spec === undefined) return { ...fleet, groups: others }
    const old = await loadGroup(tx, mesh, name)
    const revision = old ? old.revision + 1 : await firstRevision(tx, mesh, historyName.group(name))
    return { ...fleet, groups: [...others, { name, clusters: parseGroupSpec(spec).clusters, revision }] }
  }
  const { namespace, name, spec } = wish
  const others = (fleet.policies ?? []).filter((one) => !isOperators(one, wish))
  if (spec === undefined) return { ...fleet, policies: others }
  const old = await loadPolicy(tx, mesh, wish)
  const revision = old ? old.revision + 1 : await firstRevision(tx, mesh, historyName.policy(wish))
  return { ...fleet, policies: [...others, { namespace, name, revision, origin: 'api', spec: parsePolicySpec(spec) }] }
}

/** What to tell of the fleet as it would be. Throws `invalid` with everything in it that cannot stand. */
function checked(after: Fleet, wishes: readonly Wish[]): readonly string[] {
  const warnings: string[] = []
  const violations: Violation[] = []
  const policies = after.policies ?? []
  const members = after.members.map(({ name }) => name)
  for (const wish of wishes) {
    if (wish.kind === 'SamenessGroup') {
      const { name } = wish
      if (wish.spec === undefined) refuseUsed(name, policies)
      else warnings.push(...groupWarnings({ name, ...parseGroupSpec(wish.spec) }, members, policies).map(said(wish)))
      continue
    }
    const isIt = (one: TrafficPolicy) => isOperators(one, wish)
    const policy = policies.find(isIt)
    if (!policy) continue
    const others = policies.filter((one) => !isIt(one))
    const check = checkPolicy(policy, policyFactsOf(after, others))
    violations.push(...check.violations.map(({ path, reason }) => ({ path: `${policyName(policy)}: ${path}`, reason })))
    warnings.push(...check.warnings.map(said(wish)))
  }
  const [first] = violations
  if (!first) return warnings
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : ''
  throw new Problem('invalid', `what stood then cannot stand now: policy ${first.path}: ${first.reason}${more}`, {
    violations,
  })
}

const said = (wish: Wish) => (text: string) => `${objectOf(wish)}: ${text}`
