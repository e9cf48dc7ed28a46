import type { MemberObjectRow } from '#control/store/member-objects.ts'
import type { IdleObject } from '#mesh/model/fleet.ts'
import { type ClusterName, parseClusterName } from '#mesh/model/id.ts'
import type { SamenessGroup, TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { parseGroupSpec, parsePolicySpec } from '#mesh/policy/parse-policy.ts'
import { countedObjects, objectSaidSchema, parseReportKey, reportKeys } from '#mesh/wire/report.ts'

/** One policy or group as its cluster says it: its spec, unread so far, or why the cluster cannot read it. */
export type SaidObject = { readonly hash: string } & ({ readonly spec: unknown } | { readonly fault: string })

export type SaidObjects = {
  /** By `gtp/<ns>/<name>` and `group/<name>`. */
  readonly objects: ReadonlyMap<string, SaidObject>
  /** True where what is missing may be in a file that the cluster could not read. */
  readonly isUnsure: boolean
}

export const nothingSaid: SaidObjects = { objects: new Map(), isUnsure: false }

/** The policies and groups in a report: the first by name, as many as count. */
export function saidObjects(
  items: readonly { readonly key: string; readonly hash: string; readonly body: string }[],
): SaidObjects {
  const named = items.flatMap(({ key, hash, body }) => {
    const kind = parseReportKey(key)?.kind
    const isObject = (kind === 'policy' || kind === 'group') && body !== ''
    return isObject ? [{ key, hash, body, bytes: Buffer.byteLength(body) }] : []
  })
  const counted = countedObjects(named).map(({ key, hash, body }): [string, SaidObject] => [
    key.replace(/^policy\//, 'gtp/'),
    { hash, ...saidIn(body) },
  ])
  const objects = new Map(counted)
  const isUnsure = items.some(({ key, body }) => key === reportKeys.unread && body !== '')
  return objects.size === 0 && !isUnsure ? nothingSaid : { objects, isUnsure }
}

/** What an older or newer centre stored is no reason to stop here. */
function saidIn(body: string): { readonly spec: unknown } | { readonly fault: string } {
  const said = objectSaidSchema.safeParse(JSON.parse(body))
  return said.success ? said.data : { fault: 'this version of the centre does not understand how it is reported' }
}

/** The parts of `gtp/<ns>/<name>` or `group/<name>`. */
export function partsOfObject(
  object: string,
):
  | { readonly kind: 'policy'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'group'; readonly name: string } {
  const [kind = '', first = '', second = ''] = object.split('/')
  return kind === 'gtp' ? { kind: 'policy', namespace: first, name: second } : { kind: 'group', name: first }
}

/** How messages name it: `policy bookinfo/reviews`, `group prod`. */
export const objectText = (object: string): string => object.replace(/^gtp\//, 'policy ').replace(/^group\//, 'group ')

/** What of members' objects is in force, and what each is to be told of those that are not. */
export type MemberSet = {
  readonly policies: readonly TrafficPolicy[]
  readonly groups: readonly SamenessGroup[]
  readonly idle: ReadonlyMap<string, readonly IdleObject[]>
}

export function memberSetOf(rows: readonly MemberObjectRow[], sources: readonly ClusterName[]): MemberSet {
  const isSource = ({ cluster }: MemberObjectRow): boolean => sources.some((one) => one === cluster)
  const told = rows.flatMap((row) => {
    const one = idleOf(row, isSource(row))
    return one ? [{ cluster: row.cluster, one }] : []
  })
  const byCluster = Map.groupBy(told, ({ cluster }) => cluster)
  return {
    policies: rows.flatMap((row) => policyOf(row, isSource(row)) ?? []),
    groups: rows.flatMap((row) => (isSource(row) ? (groupOf(row) ?? []) : [])),
    idle: new Map([...byCluster].map(([cluster, all]) => [cluster, all.map(({ one }) => one)])),
  }
}

/** Undefined where none is in force, or this version cannot read it. */
export function policyOf(row: MemberObjectRow, isSource: boolean): TrafficPolicy | undefined {
  const parts = partsOfObject(row.object)
  if (parts.kind !== 'policy' || row.spec === '') return undefined
  try {
    const { namespace, name } = parts
    const origin = parseClusterName(row.cluster)
    const reach = isSource && row.reach === 'mesh' ? { meshWide: row.createdAt } : {}
    return { namespace, name, revision: row.revision, origin, ...reach, spec: parsePolicySpec(JSON.parse(row.spec)) }
  } catch {
    return undefined
  }
}

export function groupOf(row: MemberObjectRow): SamenessGroup | undefined {
  const parts = partsOfObject(row.object)
  if (parts.kind !== 'group' || row.spec === '') return undefined
  try {
    const from = { cluster: parseClusterName(row.cluster), since: row.createdAt }
    return { name: parts.name, ...parseGroupSpec(JSON.parse(row.spec)), revision: row.revision, from }
  } catch {
    return undefined
  }
}

export const noSource = (cluster: string): string =>
  `groups say who may call whom, so they count only of policy sources, and cluster "${cluster}" is none: ` +
  'have it written at the centre, or have an admin name the cluster: isthmus policy-sources'

export const reasonsOf = ({ reasons }: MemberObjectRow): readonly string[] => JSON.parse(reasons) as string[]

/** How a member's object stands: as written, an older state of it, for its own callers alone, or not at all. */
export type Standing = 'InForce' | 'OwnCallersOnly' | 'LastGood' | 'NotInForce'

export function standingOf(row: MemberObjectRow, isSource: boolean): Standing {
  if (row.spec === '' || (!isSource && row.object.startsWith('group/'))) return 'NotInForce'
  if (row.said !== row.accepted) return 'LastGood'
  return reasonsOf(row).length > 0 ? 'OwnCallersOnly' : 'InForce'
}

function idleOf(row: MemberObjectRow, isSource: boolean): IdleObject | undefined {
  const standing = standingOf(row, isSource)
  if (standing === 'InForce') return undefined
  const known = reasonsOf(row)
  const reasons = known.length > 0 ? known : [noSource(row.cluster)]
  return { object: objectText(row.object), reasons: reasons.slice(0, 5), instead: insteadOf(standing, row) }
}

function insteadOf(standing: Standing, { revision }: MemberObjectRow): string {
  if (standing === 'LastGood') return `its revision ${revision}, the last that was accepted, stays in force`
  if (standing === 'OwnCallersOnly') return 'it governs the callers of this cluster alone'
  return 'nothing of it is in force'
}
