import type { Condition } from '#mesh/model/cluster-config.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { ExportNarrowing, Member } from '#mesh/model/fleet.ts'
import type { ClusterName, TrustDomain } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Groups } from '#mesh/policy/tiers-of-policy.ts'

/** Who may use one export; `everybody` stands for all members, so that a large fleet shares one list. */
export type Consumers = 'everybody' | ReadonlySet<ClusterName>

/** Stands for every member in a list of consumers; foreign trust domains are never meant by it. */
export const everyMember = '*'

/** How a list of consumers names a trust domain of another mesh: `spiffe://partner.example`. */
export const foreignConsumer = (trustDomain: string): string => `${foreignPrefix}${trustDomain}`
const foreignPrefix = 'spiffe://'
const isForeign = (name: string): boolean => name.startsWith(foreignPrefix)

/**
 * The members that may use an export: the exporter's own list, cut by every narrowing of the operator that applies to
 * it. A narrowing never adds. The exporter itself is never in the set: it always may use its own service.
 *
 * Workloads of other meshes may use it where every list names their trust domain and an operator federated it; no list is
 * no word about them.
 *
 * Conditions, for the exporter: `UnknownConsumer` for listed names that are no members (a typing error would otherwise
 * be silence; `group/<name>` stands for the members of a sameness group), `Narrowed` where the operator's list shuts out somebody the
 * exporter had let in.
 */
export function consumersOf(
  exporter: Pick<Member, 'name'>,
  offered: ServiceExport,
  facts: {
    readonly members: ReadonlySet<ClusterName>
    readonly narrowings: readonly ExportNarrowing[]
    /** Absent = none. */
    readonly groups?: Groups
    /** Trust domains of other meshes that are federated; absent = none. */
    readonly foreign?: readonly TrustDomain[] | undefined
  },
): {
  readonly consumers: Consumers
  /** Sorted. */
  readonly foreign: readonly TrustDomain[]
  readonly conditions: Condition[]
} {
  const object = `service ${offered.key}`
  const narrowings = facts.narrowings.filter((n) => n.cluster === undefined || n.cluster === exporter.name)
  const lists = [offered.consumers, ...narrowings.map((n) => n.consumers)].filter((list) => list !== undefined)
  const federated = new Set<string>(facts.foreign)
  const { members, groups = new Map() } = facts
  const conditions = unknown(object, unknownNames(lists, { members, groups, federated }))
  const asked = offered.consumers === undefined ? members : known(offered.consumers, members, groups)
  const left = narrowings.reduce(
    (rest, narrowing) =>
      isEvery(narrowing.consumers) ? rest : rest.intersection(known(narrowing.consumers, members, groups)),
    without(asked, exporter.name),
  )
  const wanted = (facts.foreign ?? []).filter((domain) => offered.consumers?.includes(foreignConsumer(domain)))
  const foreign = wanted.filter((domain) => narrowings.every((n) => n.consumers.includes(foreignConsumer(domain))))
  if (left.size < without(asked, exporter.name).size || foreign.length < wanted.length)
    conditions.push(narrowed(object, narrowings))
  const isOpen = lists.every(isEvery)
  return { consumers: isOpen ? 'everybody' : left, foreign: foreign.toSorted(), conditions }
}

/** True where `cluster` may use what `exporter` offers. */
export const mayUse = (cluster: ClusterName, exporter: ClusterName, consumers: Consumers): boolean =>
  cluster === exporter || consumers === 'everybody' || consumers.has(cluster)

const isEvery = (names: readonly string[]): boolean => names.includes(everyMember)

const groupPrefix = 'group/'
const groupIn = (name: string, groups: Groups): ReadonlySet<ClusterName> | undefined =>
  name.startsWith(groupPrefix) ? groups.get(name.slice(groupPrefix.length)) : undefined

/** The members that a list names, one by one or by their groups. */
const known = (
  names: readonly string[],
  members: ReadonlySet<ClusterName>,
  groups: Groups,
): ReadonlySet<ClusterName> =>
  isEvery(names)
    ? members
    : members.intersection(new Set(names.flatMap((name) => [...(groupIn(name, groups) ?? [name])])))

function without(names: ReadonlySet<ClusterName>, name: ClusterName): ReadonlySet<ClusterName> {
  const rest = new Set(names)
  rest.delete(name)
  return rest
}

const unknownNames = (
  lists: readonly (readonly string[])[],
  facts: {
    readonly members: ReadonlySet<string>
    readonly groups: Groups
    readonly federated: ReadonlySet<string>
  },
): string[] =>
  [...new Set(lists.flat())]
    .filter((name) => name !== everyMember && !facts.members.has(name) && !groupIn(name, facts.groups))
    .filter((name) => !isForeign(name) || !facts.federated.has(name.slice(foreignPrefix.length)))
    .toSorted()

/** One condition for all such names, one for all groups and one for all other meshes, of which a list may have a thousand. */
function unknown(object: string, names: readonly string[]): Condition[] {
  const { groups, foreign, others } = Object.groupBy(names, (name) =>
    name.startsWith(groupPrefix) ? 'groups' : isForeign(name) ? 'foreign' : 'others',
  )
  const say = (list: readonly string[] | undefined, reason: string, [what, fix]: [string, string]): Condition[] => {
    if (!list) return []
    const who = someOf(list.map((name) => `"${name}"`))
    return [{ type: 'UnknownConsumer', reason, message: `listed as a consumer and no ${what}: ${who}; ${fix}`, object }]
  }
  return [
    ...say(groups, 'NotAMember', [
      'group of this mesh',
      'make those groups, or correct the names: isthmus get sameness-groups',
    ]),
    ...say(foreign, 'NotFederated', [
      'trust domain that this mesh federates with',
      'correct it, or have an operator bring its roots in: isthmus trust federate <trust domain> -f <bundle>',
    ]),
    ...say(others, 'NotAMember', ['cluster of this mesh', 'correct the name, or join that cluster']),
  ]
}

function narrowed(object: string, narrowings: readonly ExportNarrowing[]): Condition {
  const lists = narrowings.filter(({ consumers }) => !isEvery(consumers)).map((n) => new Set<string>(n.consumers))
  const allowed = lists.length === 0 ? new Set(['every member']) : lists.reduce((rest, next) => rest.intersection(next))
  const names = [...allowed].toSorted()
  return {
    type: 'Narrowed',
    reason: 'OperatorList',
    message: `the operator of the mesh allows this export only to ${names.length === 0 ? 'nobody' : someOf(names)}`,
    object,
  }
}
