import { and, asc, eq, gt, isNull } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type OperatorKeyRow, operatorKeys } from '#control/store/schema/operator-key.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { OperatorKeyRow }
export type Role = OperatorKeyRow['role']

/** Who presents a key knows no mesh yet: the key says it. */
export async function loadOperatorKeyByHash(tx: Tx, hash: string): Promise<OperatorKeyRow | undefined> {
  const [row] = await tx.select().from(operatorKeys).where(eq(operatorKeys.hash, hash))
  return row
}

export async function loadOperatorKey(tx: Tx, mesh: MeshName, id: string): Promise<OperatorKeyRow | undefined> {
  const [row] = await tx
    .select()
    .from(operatorKeys)
    .where(and(eq(operatorKeys.mesh, mesh), eq(operatorKeys.id, id)))
  return row
}

/** By id, and so by age; those after `after` only. */
export const loadOperatorKeys = (tx: Tx, mesh: MeshName, after: string, limit: number): Promise<OperatorKeyRow[]> =>
  tx
    .select()
    .from(operatorKeys)
    .where(and(eq(operatorKeys.mesh, mesh), gt(operatorKeys.id, after)))
    .orderBy(asc(operatorKeys.id))
    .limit(limit)

/** The same key again (a repeated request) changes nothing. */
export async function saveOperatorKey(tx: Tx, row: OperatorKeyRow): Promise<void> {
  kept(tx, operatorKeys, await tx.insert(operatorKeys).values(row).onConflictDoNothing().returning())
}

export async function revokeOperatorKey(tx: Tx, mesh: MeshName, id: string, now: number): Promise<void> {
  const rows = await tx
    .update(operatorKeys)
    .set({ revokedAt: now })
    .where(and(eq(operatorKeys.mesh, mesh), eq(operatorKeys.id, id), isNull(operatorKeys.revokedAt)))
    .returning()
  kept(tx, operatorKeys, rows)
}

/** Keys that let somebody in at `now` as an administrator. */
export async function countLiveAdmins(tx: Tx, mesh: MeshName, now: number): Promise<number> {
  const rows = await tx
    .select()
    .from(operatorKeys)
    .where(and(eq(operatorKeys.mesh, mesh), eq(operatorKeys.role, 'admin'), isNull(operatorKeys.revokedAt)))
    .limit(500)
  return rows.filter((row) => row.expiresAt === null || row.expiresAt > now).length
}
