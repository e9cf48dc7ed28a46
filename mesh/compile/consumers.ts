import type { Condition } from '#mesh/model/cluster-config.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { ExportNarrowing, Member } from '#mesh/model/fleet.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Groups } from '#mesh/policy/tiers-of-policy.ts'

/** Who may use one export; `everybody` stands for all members, so that a large fleet shares one list. */
export type Consumers = 'everybody' | ReadonlySet<ClusterName>

/**
 * The members that may use an export: the exporter's own list, cut by every narrowing of the operator that applies to
 * it. A narrowing never adds. The exporter itself is never in the set: it always may use its own service.
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
  },
): { readonly consumers: Consumers; readonly conditions: Condition[] } {
  const object = `service ${offered.key}`
  const narrowings = facts.narrowings.filter((n) => n.cluster === undefined || n.cluster === exporter.name)
  const lists = [offered.consumers, ...narrowings.map((n) => n.consumers)].filter((list) => list !== undefined)
  const { members, groups = new Map() } = facts
  const conditions = unknown(object, unknownNames(lists, members, groups))
  const asked = offered.consumers === undefined ? members : known(offered.consumers, members, groups)
  const left = narrowings.reduce(
    (rest, narrowing) => rest.intersection(known(narrowing.consumers, members, groups)),
    without(asked, exporter.name),
  )
  if (left.size < without(asked, exporter.name).size) conditions.push(narrowed(object, narrowings))
  return { consumers: lists.length === 0 ? 'everybody' : left, conditions }
}

/** True where `cluster` may use what `exporter` offers. */
export const mayUse = (cluster: ClusterName, exporter: ClusterName, consumers: Consumers): boolean =>
  cluster === exporter || consumers === 'everybody' || consumers.has(cluster)

const groupPrefix = 'group/'
const groupIn = (name: string, groups: Groups): ReadonlySet<ClusterName> | undefined =>
  name.startsWith(groupPrefix) ? groups.get(name.slice(groupPrefix.length)) : undefined

/** The members that a list names, one by one or by their groups. */
const known = (names: readonly string[], members: ReadonlySet<ClusterName>, groups: Groups): ReadonlySet<ClusterName> =>
  members.intersection(new Set(names.flatMap((name) => [...(groupIn(name, groups) ?? [name])])))

function without(names: ReadonlySet<ClusterName>, name: ClusterName): ReadonlySet<ClusterName> {
  const rest = new Set(names)
  rest.delete(name)
  return rest
}

const unknownNames = (lists: readonly (readonly string[])[], members: ReadonlySet<string>, groups: Groups): string[] =>
  [...new Set(lists.flat())].filter((name) => !members.has(name) && !groupIn(name, groups)).toSorted()

/** One condition for all such names and one for all groups, of which a list may have a thousand. */
function unknown(object: string, names: readonly string[]): Condition[] {
  const { groups = [], others = [] } = Object.groupBy(names, (name) =>
    name.startsWith(groupPrefix) ? 'groups' : 'others',
  )
  const say = (list: readonly string[], what: string, fix: string): Condition[] => {
    if (list.length === 0) return []
    const who = someOf(list.map((name) => `"${name}"`))
    const message = `listed as a consumer and no ${what} of this mesh: ${who}; ${fix}`
    return [{ type: 'UnknownConsumer', reason: 'NotAMember', message, object }]
  }
  return [
    ...say(groups, 'group', 'make those groups, or correct the names: isthmus get sameness-groups'),
    ...say(others, 'cluster', 'correct the name, or join that cluster'),
  ]
}

function narrowed(object: string, narrowings: readonly ExportNarrowing[]): Condition {
  const allowed = narrowings.map((n) => new Set(n.consumers)).reduce((rest, next) => rest.intersection(next))
  const names = [...allowed].toSorted()
  return {
    type: 'Narrowed',
    reason: 'OperatorList',
    message: `the operator of the mesh allows this export only to ${names.length === 0 ? 'nobody' : someOf(names)}`,
    object,
  }
}
