import { and, count, eq, gt, lt } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { type ShiftEventRow, shiftEvents } from '#control/store/schema/traffic.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { ShiftEventRow }

/** Notes that a shift was told; false where it was before. */
export async function insertShift(tx: Tx, row: ShiftEventRow): Promise<boolean> {
  const rows = await tx.insert(shiftEvents).values(row).onConflictDoNothing().returning()
  return rows.length > 0
}

/** How many a cluster told since. */
export async function countShifts(tx: Tx, mesh: MeshName, cluster: string, since: number): Promise<number> {
  const of = and(eq(shiftEvents.mesh, mesh), eq(shiftEvents.cluster, cluster), gt(shiftEvents.at, since))
  const [row] = await tx.select({ n: count() }).from(shiftEvents).where(of)
  return row?.n ?? 0
}

/** Forgets what was told before; gives back how many. */
export async function pruneShifts(tx: Tx, mesh: MeshName, before: number): Promise<number> {
  const rows = await tx
    .delete(shiftEvents)
    .where(and(eq(shiftEvents.mesh, mesh), lt(shiftEvents.at, before)))
    .returning({ seq: shiftEvents.seq })
  return rows.length
}
