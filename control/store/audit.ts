import { and, count, desc, eq, gt, inArray, like, lt, type SQL } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type AuditRow, audit } from '#control/store/schema/audit.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { AuditRow }

export async function appendAudit(tx: Tx, row: AuditRow): Promise<void> {
  kept(tx, audit, await tx.insert(audit).values(row).returning())
}

/** Newest first; with `before`, those older than that id. */
export const loadAudit = (tx: Tx, mesh: MeshName, before: string, limit: number): Promise<AuditRow[]> =>
  tx
    .select()
    .from(audit)
    .where(before === '' ? eq(audit.mesh, mesh) : and(eq(audit.mesh, mesh), lt(audit.id, before)))
    .orderBy(desc(audit.id))
    .limit(limit)

/** Forgets what is older than `before`, at most `limit` events of it; gives back how many. */
export const pruneAudit = (tx: Tx, mesh: MeshName, before: number, limit: number): Promise<number> =>
  dropOldest(tx, and(eq(audit.mesh, mesh), lt(audit.at, before)), limit)

/**
 * Forgets the oldest events of `caller` (of the whole mesh, where not given) beyond `max`, at most `limit` of them; gives
 * back how many.
 */
export async function boundAudit(
  tx: Tx,
  mesh: MeshName,
  { caller, max, limit }: { readonly caller?: string; readonly max: number; readonly limit: number },
): Promise<number> {
  const theirs = and(eq(audit.mesh, mesh), ...(caller === undefined ? [] : [eq(audit.caller, caller)]))
  const [row] = await tx.select({ n: count() }).from(audit).where(theirs)
  return dropOldest(tx, theirs, Math.min(limit, (row?.n ?? 0) - max))
}

/** Clusters, as callers, of which there are more than `max` events. One look at all events. */
export async function loadLoudClusters(tx: Tx, mesh: MeshName, max: number): Promise<string[]> {
  const rows = await tx
    .select({ caller: audit.caller })
    .from(audit)
    .where(and(eq(audit.mesh, mesh), like(audit.caller, 'cluster:%')))
    .groupBy(audit.caller)
    .having(gt(count(), max))
  return rows.map(({ caller }) => caller)
}

async function dropOldest(tx: Tx, which: SQL | undefined, many: number): Promise<number> {
  if (many <= 0) return 0
  const old = await tx.select({ mesh: audit.mesh, id: audit.id }).from(audit).where(which).orderBy(audit.id).limit(many)
  const [{ mesh } = { mesh: '' }] = old
  const ids = old.map(({ id }) => id)
  const rows = await tx
    .delete(audit)
    .where(and(eq(audit.mesh, mesh), inArray(audit.id, ids)))
    .returning()
  dropped(tx, audit, rows)
  return rows.length
}
