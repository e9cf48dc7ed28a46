import { and, asc, desc, eq, getTableColumns, gt, gte, isNull, lt, lte, or } from 'drizzle-orm'
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

/**
 * Notes when all proxies of the cluster had the newest config of that hash, `at` by its relay's clock: not before it was
 * written, nor in the future. Gives back the revision and how long it took; undefined where it was known, or is no more.
 */
export async function saveAcked(
  tx: Tx,
  mesh: MeshName,
  cluster: string,
  { hash, at, now }: { readonly hash: string; readonly at: number; readonly now: number },
): Promise<{ readonly revision: number; readonly ms: number } | undefined> {
  const of = and(eq(compiled.mesh, mesh), eq(compiled.cluster, cluster))
  const [row] = await tx
    .select({ revision: compiled.revision, at: compiled.at, ackedAt: compiled.ackedAt })
    .from(compiled)
    .where(and(of, eq(compiled.hash, hash)))
    .orderBy(desc(compiled.revision))
    .limit(1)
  if (!row || row.ackedAt !== null) return undefined
  const ackedAt = Math.max(row.at, Math.min(at, now))
  await tx
    .update(compiled)
    .set({ ackedAt })
    .where(and(of, eq(compiled.revision, row.revision)))
  return { revision: row.revision, ms: ackedAt - row.at }
}

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
