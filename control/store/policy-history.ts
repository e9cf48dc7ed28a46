import { and, asc, desc, eq, inArray, lt, lte, or } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { loadMark, lockMark, saveMark } from '#control/store/mesh-marks.ts'
import { type PolicyHistoryRow, policyHistory } from '#control/store/schema/traffic.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { PolicyHistoryRow }

/** How the history calls a policy and a group. */
export const historyName = {
  policy: ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
    `gtp/${namespace}/${name}`,
  group: (name: string): string => `group/${name}`,
} as const

/** How long a state is kept once the next of its object was written, and a config that is not a cluster's newest. */
export const historyKeptMs = 30 * 24 * 60 * 60_000

/** The number of the last change of policies and groups; 0 = none ever. */
export const loadPolicySeq = async (tx: Tx, mesh: MeshName): Promise<number> =>
  Number((await loadMark(tx, mesh, 'policies'))?.value ?? 0)

/** As `loadPolicySeq`, and nobody else changes one until the transaction ends. */
export const lockPolicies = async (tx: Tx, mesh: MeshName): Promise<number> =>
  Number((await lockMark(tx, mesh, 'policies')).value)

/** Writes the next state of an object. Gives back its number. Only under `lockPolicies`. */
export async function appendHistory(tx: Tx, row: Omit<PolicyHistoryRow, 'seq'>): Promise<number> {
  const mark = await lockMark(tx, row.mesh as MeshName, 'policies')
  const seq = Number(mark.value) + 1
  kept(
    tx,
    policyHistory,
    await tx
      .insert(policyHistory)
      .values({ ...row, seq })
      .returning(),
  )
  await saveMark(tx, { ...mark, value: String(seq), by: row.by, reason: row.object, at: row.at })
  return seq
}

/** Newest first, of one object or of all (''); those below number `before` where it is given. */
export const loadPolicyHistory = (
  tx: Tx,
  mesh: MeshName,
  object: string,
  page: { readonly before?: number | undefined; readonly limit: number },
): Promise<PolicyHistoryRow[]> =>
  tx
    .select()
    .from(policyHistory)
    .where(
      and(
        eq(policyHistory.mesh, mesh),
        ...(object === '' ? [] : [eq(policyHistory.object, object)]),
        ...(page.before === undefined ? [] : [lt(policyHistory.seq, page.before)]),
      ),
    )
    .orderBy(desc(policyHistory.seq))
    .limit(page.limit)

/** Of all objects by the time of their writing, newest first; what comes after `last` in that order where it is given. */
export const loadPolicyTimeline = (
  tx: Tx,
  mesh: MeshName,
  page: {
    /** `state`: of a member's object, of which those of a moment stand after all of these. */
    readonly last: { readonly at: number; readonly seq?: number; readonly state?: unknown } | undefined
    readonly limit: number
  },
): Promise<PolicyHistoryRow[]> =>
  tx
    .select()
    .from(policyHistory)
    .where(and(eq(policyHistory.mesh, mesh), ...(page.last ? [after(page.last)] : [])))
    .orderBy(desc(policyHistory.at), desc(policyHistory.seq))
    .limit(page.limit)

/** Without a number: that moment and before. */
const after = ({ at, seq, state }: { readonly at: number; readonly seq?: number; readonly state?: unknown }) =>
  state !== undefined
    ? lt(policyHistory.at, at)
    : seq === undefined
      ? lte(policyHistory.at, at)
      : or(lt(policyHistory.at, at), and(eq(policyHistory.at, at), lt(policyHistory.seq, seq)))

/** One state of an object. */
export async function loadPolicyState(
  tx: Tx,
  mesh: MeshName,
  object: string,
  revision: number,
): Promise<PolicyHistoryRow | undefined> {
  const [row] = await tx
    .select()
    .from(policyHistory)
    .where(and(eq(policyHistory.mesh, mesh), eq(policyHistory.object, object), eq(policyHistory.revision, revision)))
    .orderBy(desc(policyHistory.seq))
    .limit(1)
  return row
}

/** When the change of a number was written; undefined where it is not kept (any more). */
export async function loadChangeAt(tx: Tx, mesh: MeshName, seq: number): Promise<number | undefined> {
  const [row] = await tx
    .select({ at: policyHistory.at })
    .from(policyHistory)
    .where(and(eq(policyHistory.mesh, mesh), eq(policyHistory.seq, seq)))
  return row?.at
}

/** The state of every object as it was after change number `seq`; those that were deleted then are left out. */
export async function loadPoliciesAt(tx: Tx, mesh: MeshName, seq: number): Promise<PolicyHistoryRow[]> {
  const rows = await tx
    .select()
    .from(policyHistory)
    .where(and(eq(policyHistory.mesh, mesh), lte(policyHistory.seq, seq)))
    .orderBy(asc(policyHistory.seq))
  const last = new Map(rows.map((row) => [row.object, row]))
  return [...last.values()].filter(({ spec }) => spec !== '')
}

/**
 * Forgets states that were over before `before`, at most `limit` of them: one is over when the next of its object is
 * written. The state in force is never forgotten, a deletion is once it is that old. Gives back how many.
 */
export async function prunePolicyHistory(tx: Tx, mesh: MeshName, before: number, limit: number): Promise<number> {
  const rows = await tx
    .select({ seq: policyHistory.seq, object: policyHistory.object, spec: policyHistory.spec })
    .from(policyHistory)
    .where(and(eq(policyHistory.mesh, mesh), lt(policyHistory.at, before)))
    .orderBy(asc(policyHistory.seq))
  const last = new Map(rows.map((row) => [row.object, row]))
  const over = rows.filter((row) => last.get(row.object) !== row || row.spec === '').map(({ seq }) => seq)
  if (over.length === 0) return 0
  const which = and(eq(policyHistory.mesh, mesh), inArray(policyHistory.seq, over.slice(0, limit)))
  const gone = await tx.delete(policyHistory).where(which).returning()
  dropped(tx, policyHistory, gone)
  return gone.length
}
