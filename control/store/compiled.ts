import { and, asc, desc, eq, getTableColumns, gt, gte, isNotNull, isNull, lt, lte, or } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { type CompiledRow, compiled } from '#control/store/schema/compiled.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

export type { CompiledRow }

/** What the newest config of a cluster is, without its body. */
export async function loadLastHead(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
): Promise<Pick<CompiledRow, 'revision' | 'hash'> | undefined> {
  const [row] = await tx
    .select({ revision: compiled.revision, hash: compiled.hash })
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  return row
}

/** The newest config of a cluster, its body whole. */
export async function loadLastCompiled(tx: Tx, mesh: MeshName, cluster: string): Promise<CompiledRow | undefined> {
  const [row] = await tx
    .select()
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  return row && wholeRow(tx, mesh, row)
}

/** A config of the history, its body whole. */
export async function loadCompiled(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  revision: number,
): Promise<CompiledRow | undefined> {
  const [row] = await tx
    .select()
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster), eq(compiled.revision, revision)))
  return row && wholeRow(tx, mesh, row)
}

/** The config that a cluster had at a moment: its last revision that was written by then, the body whole. */
export async function loadCompiledAt(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  at: number,
): Promise<CompiledRow | undefined> {
  const [row] = await tx
    .select()
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster), lte(compiled.at, at)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  return row && wholeRow(tx, mesh, row)
}

/** The row with its body put together from the revisions that it stands on. Throws `internal` where one of them is missing. */
async function wholeRow(tx: Tx, mesh: MeshName, row: CompiledRow): Promise<CompiledRow> {
  if (row.base === null) return row
  const rows = await tx
    .select()
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), eq(compiled.cluster, row.cluster), lte(compiled.revision, row.revision)))
    .orderBy(desc(compiled.revision))
    .limit(chainMax)
  const start = rows.findIndex(({ base }) => base === null)
  const chain = rows.slice(0, start + 1).toReversed()
  const isWhole = start >= 0 && chain.every((one, at) => at === 0 || one.base === chain[at - 1]?.revision)
  if (!isWhole)
    throw new Problem('internal', `config ${row.cluster}@${row.revision} cannot be put together: its base is not kept`)
  const entries: Record<string, Json> = {}
  for (const { body } of chain)
    for (const [key, entry] of Object.entries(JSON.parse(body) as Record<string, Json>))
      if (entry === null) delete entries[key]
      else entries[key] = entry
  return { ...row, body: canonicalJson(entries), base: null }
}

/** More revisions than ever stand on each other. */
const chainMax = 100

/** A config without its body. */
export type CompiledHead = Omit<CompiledRow, 'body'>

const { body: _body, ...head } = getTableColumns(compiled)

/** One of the history. */
export async function loadCompiledHead(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  revision: number,
): Promise<CompiledHead | undefined> {
  const [row] = await loadCompiledHistory(tx, mesh, cluster, { before: revision + 1, limit: 1 })
  return row?.revision === revision ? row : undefined
}

/** Newest first; those below revision `before` where it is given. */
export const loadCompiledHistory = (
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  page: { readonly before: number | undefined; readonly limit: number },
): Promise<CompiledHead[]> =>
  tx
    .select(head)
    .from(compiled)
    .where(
      and(
        eq(compiled.mesh, mesh),
        eq(compiled.cluster, cluster),
        ...(page.before === undefined ? [] : [lt(compiled.revision, page.before)]),
      ),
    )
    .orderBy(desc(compiled.revision))
    .limit(page.limit)

/** Of all clusters, newest first; what comes after `last` in that order where it is given, or after all of a moment. */
export const loadCompiledTimeline = (
  tx: Tx,
  mesh: MeshName,
  page: { readonly last: { readonly at: number; readonly of?: CompiledPlace } | undefined; readonly limit: number },
): Promise<CompiledHead[]> =>
  tx
    .select(head)
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), ...(page.last ? [after(page.last)] : [])))
    .orderBy(desc(compiled.at), desc(compiled.cluster), desc(compiled.revision))
    .limit(page.limit)

export type CompiledPlace = { readonly cluster: string; readonly revision: number }

function after({ at, of }: { readonly at: number; readonly of?: CompiledPlace }) {
  if (!of) return lt(compiled.at, at)
  const below = and(eq(compiled.cluster, of.cluster), lt(compiled.revision, of.revision))
  return or(lt(compiled.at, at), and(eq(compiled.at, at), or(lt(compiled.cluster, of.cluster), below)))
}

/** A config that all proxies of its cluster have, and how long that took from the writing of it. */
export type Acked = { readonly revision: number; readonly ms: number }

/**
 * Notes when all proxies of the cluster had the newest config of that hash, `at` by its relay's clock: not before it was
 * written, nor in the future. Those before it that nobody acknowledged came with it. Gives back which these are; none
 * where it was known, or is no more. Of a config of before this was told nobody knows how long it took.
 */
export async function saveAcked(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  { hash, at, now }: { readonly hash: string; readonly at: number; readonly now: number },
): Promise<Acked[]> {
  const of = and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster))
  const [row] = await tx
    .select(head)
    .from(compiled)
    .where(and(of, eq(compiled.hash, hash)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  if (!row || row.ackedAt !== null) return []
  const [last] = await tx
    .select({ revision: compiled.revision })
    .from(compiled)
    .where(and(of, isNotNull(compiled.ackedAt), lt(compiled.revision, row.revision)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  const since = last ? gt(compiled.revision, last.revision) : eq(compiled.revision, row.revision)
  const ackedAt = Math.max(row.at, Math.min(at, now))
  const rows = await tx
    .update(compiled)
    .set({ ackedAt })
    .where(and(of, since, lte(compiled.revision, row.revision), isNull(compiled.ackedAt)))
    .returning({ revision: compiled.revision, at: compiled.at, policies: compiled.policies })
  return rows.flatMap((one) => (one.policies === null ? [] : [{ revision: one.revision, ms: ackedAt - one.at }]))
}

/** Since when each cluster has a config that not all of its proxies have, of those that ever told; by cluster. */
export async function loadUnacked(tx: Tx, mesh: MeshName, since: number): Promise<ReadonlyMap<string, number>> {
  const rows = await tx
    .select({ cluster: compiled.cluster, at: compiled.at, ackedAt: compiled.ackedAt })
    .from(compiled)
    .where(and(eq(compiled.mesh, mesh), gte(compiled.at, since)))
    .orderBy(desc(compiled.at), desc(compiled.revision))
    .limit(unackedLookedAt)
  const waiting = new Map<string, number>()
  const settled = new Set<string>()
  for (const { cluster, at, ackedAt } of rows)
    if (ackedAt !== null) settled.add(cluster)
    else if (!settled.has(cluster)) waiting.set(cluster, at)
  return waiting
}

const unackedLookedAt = 10_000

export async function appendCompiled(tx: Tx, row: CompiledRow): Promise<void> {
  await tx.insert(compiled).values(row)
}

/**
 * Forgets what is older than `before`, and all but the newest `max`; never the newest config of a cluster, nor what one
 * that stays stands on.
 */
export async function pruneCompiled(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  { before, max }: { readonly before: number; readonly max: number },
): Promise<void> {
  const ofCluster = and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster))
  const last = await loadLastHead(tx, mesh, cluster)
  if (last === undefined) return
  const one = { revision: compiled.revision }
  const stays = or(
    and(gte(compiled.at, before), gt(compiled.revision, last.revision - max)),
    eq(compiled.revision, last.revision),
  )
  const [oldest] = await tx
    .select(one)
    .from(compiled)
    .where(and(ofCluster, stays))
    .orderBy(asc(compiled.revision))
    .limit(1)
  const below = and(ofCluster, isNull(compiled.base), lte(compiled.revision, oldest?.revision ?? last.revision))
  const [whole] = await tx.select(one).from(compiled).where(below).orderBy(desc(compiled.revision)).limit(1)
  if (whole) await tx.delete(compiled).where(and(ofCluster, lt(compiled.revision, whole.revision)))
}
