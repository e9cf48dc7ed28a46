import { and, asc, desc, eq, isNull } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type RevocationRow, revocations } from '#control/store/schema/trust.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { RevocationRow }

/** All revocations, oldest first. */
export const loadRevocations = (tx: Tx, mesh: MeshName): Promise<RevocationRow[]> =>
  tx.select().from(revocations).where(eq(revocations.mesh, mesh)).orderBy(asc(revocations.cut))

/** Those in force, newest first. */
export const loadStanding = (tx: Tx, mesh: MeshName): Promise<RevocationRow[]> =>
  tx
    .select()
    .from(revocations)
    .where(and(eq(revocations.mesh, mesh), isNull(revocations.undoneAt)))
    .orderBy(desc(revocations.cut))

export async function loadRevocation(tx: Tx, mesh: MeshName, cut: number): Promise<RevocationRow | undefined> {
  const [row] = await tx
    .select()
    .from(revocations)
    .where(and(eq(revocations.mesh, mesh), eq(revocations.cut, cut)))
  return row
}

export async function insertRevocation(tx: Tx, row: RevocationRow): Promise<void> {
  kept(tx, revocations, await tx.insert(revocations).values(row).returning())
}

/** Notes that it was taken back; undefined where it was before. */
export async function undoRevocationRow(tx: Tx, row: RevocationRow, now: number): Promise<RevocationRow | undefined> {
  const isThis = and(eq(revocations.mesh, row.mesh), eq(revocations.cut, row.cut), isNull(revocations.undoneAt))
  const set = { undoneAt: now, revision: row.revision + 1 }
  return kept(tx, revocations, await tx.update(revocations).set(set).where(isThis).returning())
}
