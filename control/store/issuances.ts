import { and, asc, eq, gt, lte } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type IssuanceRow, issuances } from '#control/store/schema/issuance.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { IssuanceRow }

export async function insertIssuance(tx: Tx, row: IssuanceRow): Promise<void> {
  kept(tx, issuances, await tx.insert(issuances).values(row).returning())
}

/** Rows after a number, oldest first. */
export const loadIssuances = (tx: Tx, mesh: MeshName, after: number, limit: number): Promise<IssuanceRow[]> =>
  tx
    .select()
    .from(issuances)
    .where(and(eq(issuances.mesh, mesh), gt(issuances.seq, after)))
    .orderBy(asc(issuances.seq))
    .limit(limit)

/** Forgets the rows up to a number; gives back how many. */
export async function dropIssuances(tx: Tx, mesh: MeshName, upTo: number): Promise<number> {
  const isOld = and(eq(issuances.mesh, mesh), lte(issuances.seq, upTo))
  const rows = await tx.delete(issuances).where(isOld).returning()
  dropped(tx, issuances, rows)
  return rows.length
}
