import { and, asc, desc, eq, gt, lt, lte, or } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import {
  type MemberObjectHistoryRow,
  type MemberObjectRow,
  memberObjectHistory,
  memberObjects,
} from '#control/store/schema/traffic.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { MemberObjectHistoryRow, MemberObjectRow }

/** All that members say is there, by cluster and name. */
export const loadMemberObjects = (tx: Tx, mesh: MeshName): Promise<MemberObjectRow[]> =>
  tx
    .select()
    .from(memberObjects)
    .where(eq(memberObjects.mesh, mesh))
    .orderBy(asc(memberObjects.cluster), asc(memberObjects.object))

type Key = Pick<MemberObjectRow, 'mesh' | 'cluster' | 'object'>

const isIt = ({ mesh, cluster, object }: Key) =>
  and(eq(memberObjects.mesh, mesh), eq(memberObjects.cluster, cluster), eq(memberObjects.object, object))

export async function saveMemberObject(tx: Tx, row: MemberObjectRow): Promise<void> {
  const { mesh: _1, cluster: _2, object: _3, ...set } = row
  const updated = await tx.update(memberObjects).set(set).where(isIt(row)).returning()
  if (kept(tx, memberObjects, updated)) return
  kept(tx, memberObjects, await tx.insert(memberObjects).values(row).returning())
}

export async function deleteMemberObject(tx: Tx, key: Key): Promise<void> {
  dropped(tx, memberObjects, await tx.delete(memberObjects).where(isIt(key)).returning())
}

const history = memberObjectHistory
const isOf = ({ mesh, cluster, object }: Key) =>
  and(eq(history.mesh, mesh), eq(history.cluster, cluster), eq(history.object, object))

/** As many states as are kept of one cluster: it may write as often as it likes. */
const statesMax = 1000

/** Writes the next state of an object, and forgets the cluster's oldest beyond what is kept of one. */
export async function appendMemberHistory(tx: Tx, row: MemberObjectHistoryRow): Promise<void> {
  kept(tx, history, await tx.insert(history).values(row).returning())
  const isTheirs = and(eq(history.mesh, row.mesh), eq(history.cluster, row.cluster))
  const [last] = await tx
    .select({ at: history.at })
    .from(history)
    .where(isTheirs)
    .orderBy(desc(history.at))
    .offset(statesMax)
    .limit(1)
  if (last)
    dropped(
      tx,
      history,
      await tx
        .delete(history)
        .where(and(isTheirs, lte(history.at, last.at)))
        .returning(),
    )
}

/** The number of the last state of an object; 0 = none is kept. */
export async function lastMemberRevision(tx: Tx, key: Key): Promise<number> {
  const [row] = await tx
    .select({ revision: history.revision })
    .from(history)
    .where(isOf(key))
    .orderBy(desc(history.revision))
    .limit(1)
  return row?.revision ?? 0
}

/** Of one object, newest first; those below revision `before` where it is given. */
export const loadMemberHistory = (
  tx: Tx,
  key: Key,
  page: { readonly before?: number | undefined; readonly limit: number },
): Promise<MemberObjectHistoryRow[]> =>
  tx
    .select()
    .from(history)
    .where(and(isOf(key), ...(page.before === undefined ? [] : [lt(history.revision, page.before)])))
    .orderBy(desc(history.revision))
    .limit(page.limit)

/** Where a state stands in the order of all. */
export type MemberState = Pick<MemberObjectHistoryRow, 'cluster' | 'object' | 'revision'>

/** Of all objects of all members, newest first; what comes after `last` in that order where it is given. */
export const loadMemberTimeline = (
  tx: Tx,
  mesh: MeshName,
  page: { readonly last: { readonly at: number; readonly state?: MemberState } | undefined; readonly limit: number },
): Promise<MemberObjectHistoryRow[]> =>
  tx
    .select()
    .from(history)
    .where(and(eq(history.mesh, mesh), ...(page.last ? [after(page.last)] : [])))
    .orderBy(desc(history.at), asc(history.cluster), asc(history.object), desc(history.revision))
    .limit(page.limit)

/** Without a state: that moment and before. */
function after({ at, state }: { readonly at: number; readonly state?: MemberState }) {
  if (!state) return lte(history.at, at)
  const { cluster, object, revision } = state
  const laterName = or(
    gt(history.cluster, cluster),
    and(
      eq(history.cluster, cluster),
      or(gt(history.object, object), and(eq(history.object, object), lt(history.revision, revision))),
    ),
  )
  return or(lt(history.at, at), and(eq(history.at, at), laterName))
}

/** Forgets states from before `before`, at most `limit`. Gives back how many. */
export async function pruneMemberHistory(tx: Tx, mesh: MeshName, before: number, limit: number): Promise<number> {
  const old = await tx
    .select()
    .from(history)
    .where(and(eq(history.mesh, mesh), lt(history.at, before)))
    .limit(limit)
  for (const row of old) {
    const gone = await tx
      .delete(history)
      .where(and(isOf(row), eq(history.revision, row.revision)))
      .returning()
    dropped(tx, history, gone)
  }
  return old.length
}
