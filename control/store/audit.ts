import { and, desc, eq, lt } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
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
