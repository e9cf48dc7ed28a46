import { consumersOf } from '#mesh/compile/consumers.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { ExportNarrowing, Member } from '#mesh/model/fleet.ts'
import type { ServiceSummary } from '#mesh/model/summary.ts'
import type { Groups } from '#mesh/policy/tiers-of-policy.ts'
import { audienceOf, everybody } from '#mesh/wire/stream.ts'

/** What decides who may read a cluster's summaries, and how close they are. */
export type Neighbourhood = {
  readonly source: Pick<Member, 'name' | 'network'>
  /** All joined members, the source among them. */
  readonly members: readonly Pick<Member, 'name' | 'network'>[]
  readonly narrowings: readonly ExportNarrowing[]
  /** Absent = none. */
  readonly groups?: Groups
}

/** One audience of one service. No members = everybody. */
export type Audience = { readonly name: string; readonly members?: readonly string[]; readonly flat: boolean }

/**
 * The audiences that may read the summary of one export. Consumers are the exporter's list cut by the operator's, never
 * the exporter itself. Pod addresses go only to members of the exporter's own network, so where there are such, they are
 * an audience of their own; no member is ever in two. Nobody may read it = no audience.
 */
export function audiencesOf(offered: ServiceExport, neighbourhood: Neighbourhood): Audience[] {
  const { source, members, narrowings, groups } = neighbourhood
  const { consumers } = consumersOf(source, offered, {
    members: new Set(members.map((m) => m.name)),
    narrowings: narrowings.filter((n) => n.key === offered.key),
    ...(groups ? { groups } : {}),
  })
  const others = members.filter((m) => m.name !== source.name)
  const isNear = (m: Neighbourhood['source']) => m.network !== '' && m.network === source.network
  if (consumers === 'everybody' && !others.some(isNear)) return [{ name: everybody, flat: false }]
  const readers = consumers === 'everybody' ? others : others.filter((m) => consumers.has(m.name))
  const group = (flat: boolean): Audience[] => {
    const names = readers.filter((m) => isNear(m) === flat).map((m) => m.name)
    return names.length === 0 ? [] : [{ name: audienceOf(names), members: names.toSorted(), flat }]
  }
  return [...group(true), ...group(false)]
}

/** The body for one audience: pod addresses only where they can be dialled. */
export function bodyFor(audience: Audience, summary: ServiceSummary): Json {
  const { flat, ...rest } = summary
  return audience.flat && flat ? { ...rest, flat } : { ...rest }
}
