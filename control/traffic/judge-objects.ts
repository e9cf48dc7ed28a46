import type { MemberObjectRow } from '#control/store/member-objects.ts'
import {
  groupOf,
  noSource,
  partsOfObject,
  policyOf,
  reasonsOf,
  type SaidObject,
  type SaidObjects,
} from '#control/traffic/member-objects.ts'
import { storedSpec } from '#control/traffic/next-fleet.ts'
import { visibleOffers } from '#mesh/compile/imports.ts'
import { type Market, marketOf } from '#mesh/compile/offer.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { checkPolicy } from '#mesh/policy/check-policy.ts'
import { parseGroupSpec, parsePolicySpec } from '#mesh/policy/parse-policy.ts'
import { type PolicyFacts, policyFactsOf } from '#mesh/policy/policy-facts.ts'
import { isMeshWide } from '#mesh/policy/rank-policies.ts'

/** How the row of a member's object is to be after it was looked at; `undefined` = the object is gone. */
export type Judged = { readonly object: string; readonly row: MemberObjectRow | undefined; readonly isNews: boolean }

export type Judgement = {
  readonly fleet: Fleet
  readonly cluster: ClusterName
  readonly said: SaidObjects
  readonly rows: readonly MemberObjectRow[]
  readonly isSource: boolean
  /** The fleet has moved: what was not in force may be able to by now. */
  readonly again: boolean
  readonly now: number
  readonly newRow: (object: string) => MemberObjectRow
}

/** Texts that are kept of one object. */
const reasonsMax = 20

/**
 * Looks at what one member says of its policies and groups, and decides what of it is in force. What the API would refuse
 * is not: the last that was accepted stays, and the reasons are kept for its author. One that was accepted stays when the
 * fleet moves under it, as the operators' own do. Only what differs from `rows` is given back.
 *
 * A member hears nothing of services that are not exported to it: it is checked against what its callers see. A policy
 * source speaks for all callers, so it is checked against all; where that cannot be, its policy governs its own.
 */
export function judgeObjects(of: Judgement): Judged[] {
  const { said, rows, isSource, again } = of
  const before = new Map(rows.map((row) => [row.object, row]))
  const gone = said.isUnsure ? [] : rows.filter(({ object }) => !said.objects.has(object))
  const now = new Map(rows.filter((row) => !gone.includes(row)).map((row) => [row.object, row]))
  const isDue = (object: string, { hash }: SaidObject): boolean => {
    const row = now.get(object)
    if (row?.said !== hash) return true
    const couldReachFurther = isSource && row.reach === 'own' && row.spec !== ''
    return again && (reasonsOf(row).length > 0 || couldReachFurther)
  }
  const facts = factsBy(of)
  // One that gives way to another makes room for a third.
  for (let pass = 0, moved = true; moved && pass < 4; pass++) {
    moved = false
    for (const [object, one] of said.objects) {
      if (pass === 0 ? !isDue(object, one) : (now.get(object)?.accepted ?? '') === one.hash) continue
      const old = now.get(object)
      const next = judged({ ...of, facts, now }, { object, one, old: old ?? of.newRow(object) }, of.now)
      if (next.accepted !== (old?.accepted ?? '')) moved = true
      now.set(object, next)
    }
    if (gone.length > 0 && pass === 0) moved = true
  }
  const written = [...now].flatMap(([object, row]): Judged[] => {
    const old = before.get(object)
    if (old && isSame(old, row)) return []
    return [{ object, row, isNews: row.revision !== (old?.revision ?? 0) || row.reach !== old?.reach }]
  })
  return [...gone.map(({ object, spec }) => ({ object, row: undefined, isNews: spec !== '' })), ...written]
}

const isSame = (a: MemberObjectRow, b: MemberObjectRow): boolean => canonicalJson(a) === canonicalJson(b)

type Facts = (reach: 'own' | 'mesh', rows: ReadonlyMap<string, MemberObjectRow>, but: string) => PolicyFacts
type Context = Omit<Judgement, 'now'> & { readonly facts: Facts; readonly now: ReadonlyMap<string, MemberObjectRow> }
type Case = { readonly object: string; readonly one: SaidObject; readonly old: MemberObjectRow }

function judged(context: Context, { object, one, old }: Case, at: number): MemberObjectRow {
  const found = 'fault' in one ? { reasons: [one.fault] } : verdictOn(context, object, one.spec, old)
  const reasons = canonicalJson(found.reasons.slice(0, reasonsMax).map((text) => text.slice(0, 500)))
  const looked = { ...old, said: one.hash, reasons }
  if (!('spec' in found)) return looked
  const { spec, reach } = found
  const isNew = old.spec !== spec
  const isFurther = old.spec === '' || (reach === 'mesh' && old.reach === 'own')
  return {
    ...looked,
    ...{ spec, reach, accepted: one.hash },
    ...(isNew ? { revision: old.revision + 1, updatedAt: at } : {}),
    ...(isFurther ? { createdAt: at } : {}),
  }
}

/** With `spec`: it is in force that far, whatever the reasons why not further. */
type Verdict =
  | { readonly reasons: readonly string[] }
  | { readonly reasons: readonly string[]; readonly spec: string; readonly reach: 'own' | 'mesh' }

function verdictOn(context: Context, object: string, said: unknown, old: MemberObjectRow): Verdict {
  const { cluster, isSource } = context
  const parts = partsOfObject(object)
  try {
    if (parts.kind === 'group') {
      const spec = canonicalJson({ clusters: parseGroupSpec(said).clusters })
      return isSource ? { spec, reach: 'mesh', reasons: [] } : { reasons: [noSource(cluster)] }
    }
    const { namespace, name } = parts
    const spec = parsePolicySpec(said)
    const policy: TrafficPolicy = { namespace, name, revision: 0, origin: cluster, spec }
    const stored = storedSpec(spec)
    const forAll = isSource ? reasonsAgainst({ ...policy, meshWide: 0 }, 'mesh') : []
    if (isSource && forAll.length === 0) return { spec: stored, reach: 'mesh', reasons: [] }
    // What stands for the whole mesh is not traded for less.
    if (isSource && old.spec !== '' && old.reach === 'mesh') return { reasons: forAll }
    const own = [...capacityFaults(policy), ...reasonsAgainst(policy, 'own')]
    if (own.length > 0) return { reasons: isSource ? forAll : own }
    return { spec: stored, reach: 'own', reasons: forAll }
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'invalid') throw error
    return { reasons: textsOf(error.violations) }
  }

  function reasonsAgainst(policy: TrafficPolicy, reach: 'own' | 'mesh'): readonly string[] {
    return textsOf(checkPolicy(policy, context.facts(reach, context.now, object)).violations)
  }
}

const textsOf = (violations: Problem['violations']): readonly string[] =>
  violations.map(({ path, reason }) => `${path}: ${reason}`)

/** What a cluster can take is of all callers together: the callers of one cluster cannot say it. */
const capacityFaults = ({ spec }: TrafficPolicy): readonly string[] =>
  (spec.tiers ?? []).flatMap(({ targets }, tier) =>
    targets.flatMap(({ capacity }, at) =>
      capacity
        ? [
            `spec.tiers[${tier}].targets[${at}].capacity: is of all callers together, which a policy for the callers of ` +
              'one cluster cannot say: take it out here, and have it written at the centre',
          ]
        : [],
    ),
  )

/** The facts of the fleet as the cluster's own callers see it, or whole; made when somebody asks. */
function factsBy({ fleet, cluster, isSource }: Judgement): Facts {
  const made = new Map<string, PolicyFacts>()
  return (reach, rows, but) => {
    const known = made.get(reach) ?? policyFactsOf(reach === 'mesh' ? fleet : seenBy(fleet, cluster), [])
    made.set(reach, known)
    const mine = [...rows.values()].filter(({ object }) => object !== but)
    const policies = (fleet.policies ?? []).filter((one) => one.origin !== cluster && isMeshWide(one))
    const groups = isSource ? mine.flatMap((row) => groupOf(row) ?? []) : []
    const all = groups.length === 0 ? known : { ...known, groups: groupsWith(fleet, cluster, groups) }
    return { ...all, others: [...policies, ...mine.flatMap((row) => policyOf(row, isSource) ?? [])] }
  }
}

/** The groups that its own objects make, whether the fleet has them already or not. */
function groupsWith(fleet: Fleet, cluster: ClusterName, own: NonNullable<Fleet['groups']>): PolicyFacts['groups'] {
  const others = (fleet.groups ?? []).filter(({ from }) => from?.cluster !== cluster)
  return policyFactsOf({ ...fleet, members: [], groups: [...others, ...own] }, []).groups
}

/** The fleet with only those exports that a cluster's callers may use. */
function seenBy(fleet: Fleet, cluster: ClusterName): Fleet {
  const market: Market = marketOf(fleet)
  const home = market.members.get(cluster)
  if (!home) return { ...fleet, members: [] }
  const seen = new Map<ClusterName, Map<string, Member['exports'] extends ReadonlyMap<infer _K, infer V> ? V : never>>()
  for (const offers of market.services.values())
    for (const offer of visibleOffers(home, offers)) {
      const own = seen.get(offer.member.name) ?? new Map()
      seen.set(offer.member.name, own.set(offer.export.key, offer.export))
    }
  return {
    ...fleet,
    members: fleet.members.map((member) => ({
      ...member,
      exports: (seen.get(member.name) ?? new Map()) as Member['exports'],
    })),
  }
}
