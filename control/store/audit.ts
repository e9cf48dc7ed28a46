import { and, desc, eq, inArray, lt } from 'drizzle-orm'
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
export async function pruneAudit(tx: Tx, mesh: MeshName, before: number, limit: number): Promise<number> {
  const old = tx
    .select({ id: audit.id })
    .from(audit)
    .where(and(eq(audit.mesh, mesh), lt(audit.at, before)))
    .orderBy(audit.at)
    .limit(limit)
  const rows = await tx
    .delete(audit)
    .where(and(eq(audit.mesh, mesh), inArray(audit.id, old)))
    .returning()
  dropped(tx, audit, rows)
  return rows.length
}
