import type { Centre } from '#control/centre.ts'
import { type ReportMemo, saidIn } from '#control/load-fleet.ts'
import { newId } from '#control/new-id.ts'
import type { Tx } from '#control/store/database.ts'
import {
  appendMemberHistory,
  deleteMemberObject,
  lastMemberRevision,
  loadMemberObjects,
  type MemberObjectRow,
  saveMemberObject,
} from '#control/store/member-objects.ts'
import { lockPolicies } from '#control/store/policy-history.ts'
import { type Judged, judgeObjects } from '#control/traffic/judge-objects.ts'
import { objectText, reasonsOf } from '#control/traffic/member-objects.ts'
import { loadPolicySources } from '#control/traffic/policy-sources.ts'
import { sameItems } from '#mesh/compile/offer.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import type { ClusterName } from '#mesh/model/id.ts'

/** What was looked at last, so that what cannot have changed is not looked at again. */
export type JudgeMemo = { fleet?: Fleet }

/** What changed of which cluster's objects: causes of the configs that follow. */
export type MemberChange = { readonly cluster: string; readonly cause: string }

type Parts = {
  readonly fleet: Fleet
  /** The number of the last change of policies in it. */
  readonly policies: number
  readonly reports: ReportMemo
  readonly memo: JudgeMemo
  readonly write: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
}

/**
 * Brings what is in force of members' policies and groups up to what their reports say. Gives what changed; undefined =
 * nothing at all, so the fleet is as it was loaded. What operators write meanwhile goes before: they have asked for another
 * round, in which this is done.
 */
export async function judgeMembers(centre: Centre, parts: Parts): Promise<readonly MemberChange[] | undefined> {
  const { fleet, memo } = parts
  const again = !sameFacts(fleet, memo.fleet)
  const known = await centre.db.read((tx) => loadAll(tx, centre))
  if (judgedBy(centre, parts, { ...known, again }).length === 0) {
    memo.fleet = fleet
    return undefined
  }
  const changes = await parts.write(async (tx) => {
    if ((await lockPolicies(tx, centre.mesh)) !== parts.policies) return undefined
    const judged = judgedBy(centre, parts, { ...(await loadAll(tx, centre)), again })
    for (const one of judged) await write(centre, tx, one)
    return judged.flatMap((one) => (one.isNews ? [{ cluster: one.cluster, cause: causeOf(one) }] : []))
  })
  if (changes) memo.fleet = fleet
  return changes
}

const loadAll = async (tx: Tx, { mesh }: Centre) => ({
  rows: await loadMemberObjects(tx, mesh),
  sources: await loadPolicySources(tx, mesh),
})

/** What a policy is checked against. */
const sameFacts = (a: Fleet, b: Fleet | undefined): boolean =>
  b !== undefined &&
  sameItems(a.members, b.members) &&
  sameItems(a.narrowings, b.narrowings) &&
  sameItems(a.policies, b.policies) &&
  sameItems(a.groups, b.groups)

type JudgedOf = Judged & { readonly cluster: string; readonly old: MemberObjectRow | undefined }

function judgedBy(
  centre: Centre,
  { fleet, reports }: Parts,
  {
    rows,
    sources,
    again,
  }: { readonly rows: readonly MemberObjectRow[]; readonly sources: readonly ClusterName[]; readonly again: boolean },
): JudgedOf[] {
  const now = centre.now()
  const byCluster = Map.groupBy(rows, ({ cluster }) => cluster)
  const members = new Set<string>(fleet.members.map(({ name }) => name))
  const left = rows.filter(({ cluster }) => !members.has(cluster))
  const gone = left.map((old): JudgedOf => {
    const { cluster, object, spec } = old
    return { object, cluster, old, row: undefined, isNews: spec !== '' }
  })
  const judged = fleet.members.flatMap(({ name: cluster }) => {
    const own = byCluster.get(cluster) ?? []
    const said = saidIn(reports, cluster)
    if (own.length === 0 && said.objects.size === 0) return []
    const old = new Map(own.map((row) => [row.object, row]))
    const newRow = (object: string): MemberObjectRow => ({
      ...{ mesh: centre.mesh, cluster, object, id: newId(now), spec: '', reach: 'own', revision: 0 },
      ...{ said: '', accepted: '', reasons: '[]', createdAt: now, updatedAt: now },
    })
    const isSource = sources.includes(cluster)
    const found = judgeObjects({ fleet, cluster, said, rows: own, isSource, again, now, newRow })
    return found.map((one): JudgedOf => ({ ...one, cluster, old: old.get(one.object) }))
  })
  return [...gone, ...judged]
}

const causeOf = ({ cluster, object, row }: JudgedOf): string => {
  const [kind, name] = objectText(object).split(' ')
  return row ? `${kind} ${cluster}/${name}@${row.revision}` : `${kind} ${cluster}/${name} is gone`
}

async function write(centre: Centre, tx: Tx, { object, cluster, row, old }: JudgedOf): Promise<void> {
  const key = { mesh: centre.mesh, cluster, object }
  const isMoved = (row?.revision ?? -1) !== (old?.revision ?? 0)
  const last = isMoved ? await lastMemberRevision(tx, key) : 0
  // Made anew it goes on where the one of its name ended, as a revision means one state for ever.
  const revision = Math.max(last + 1, row?.revision ?? 0, (old?.revision ?? 0) + 1)
  if (row) await saveMemberObject(tx, isMoved ? { ...row, revision } : row)
  else await deleteMemberObject(tx, key)
  if (!isMoved || (!row && old?.spec === '')) return
  const [only] = row ? reasonsOf(row) : []
  const reason = row
    ? only === undefined
      ? ''
      : 'for its own callers alone'
    : `it is not among the objects of the cluster any more`
  await appendMemberHistory(tx, { ...key, revision, spec: row?.spec ?? '', reason, at: centre.now() })
}
