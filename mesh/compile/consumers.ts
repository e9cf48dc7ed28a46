import type { Condition } from '#mesh/model/cluster-config.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { ExportNarrowing, Member } from '#mesh/model/fleet.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** Who may use one export; `everybody` stands for all members, so that a large fleet shares one list. */
export type Consumers = 'everybody' | ReadonlySet<ClusterName>

/**
 * The members that may use an export: the exporter's own list, cut by every narrowing of the operator that applies to
 * it. A narrowing never adds. The exporter itself is never in the set: it always may use its own service.
 *
 * Conditions, for the exporter: `UnknownConsumer` for a listed name that is no member (a typing error would otherwise
 * be silence; `group/…` names are unknown to this version), `Narrowed` where the operator's list shuts out somebody the
 * exporter had let in.
 */
export function consumersOf(
  exporter: Pick<Member, 'name'>,
  offered: ServiceExport,
  facts: { readonly members: ReadonlySet<ClusterName>; readonly narrowings: readonly ExportNarrowing[] },
): { readonly consumers: Consumers; readonly conditions: Condition[] } {
  const object = `service ${offered.key}`
  const narrowings = facts.narrowings.filter((n) => n.cluster === undefined || n.cluster === exporter.name)
  const lists = [offered.consumers, ...narrowings.map((n) => n.consumers)].filter((list) => list !== undefined)
  const conditions = unknownNames(lists, facts.members).map((name) => unknown(object, name))
  const asked = offered.consumers === undefined ? facts.members : known(offered.consumers, facts.members)
  const left = narrowings.reduce(
    (rest, narrowing) => rest.intersection(new Set(narrowing.consumers)),
    without(asked, exporter.name),
  )
  if (left.size < without(asked, exporter.name).size) conditions.push(narrowed(object, narrowings))
  return { consumers: lists.length === 0 ? 'everybody' : left, conditions }
}

/** True where `cluster` may use what `exporter` offers. */
export const mayUse = (cluster: ClusterName, exporter: ClusterName, consumers: Consumers): boolean =>
  cluster === exporter || consumers === 'everybody' || consumers.has(cluster)

const known = (names: readonly string[], members: ReadonlySet<ClusterName>): ReadonlySet<ClusterName> =>
  members.intersection(new Set(names))

function without(names: ReadonlySet<ClusterName>, name: ClusterName): ReadonlySet<ClusterName> {
  const rest = new Set(names)
  rest.delete(name)
  return rest
}

const unknownNames = (lists: readonly (readonly string[])[], members: ReadonlySet<string>): string[] =>
  [...new Set(lists.flat())].filter((name) => !members.has(name)).toSorted()

const unknown = (object: string, name: string): Condition => ({
  type: 'UnknownConsumer',
  reason: 'NotAMember',
  message: `"${name}" is listed as a consumer and is no cluster of this mesh: ${
    name.startsWith('group/')
      ? 'groups are not known to this version, so list its clusters one by one'
      : 'correct the name, or join that cluster'
  }`,
  object,
})

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
