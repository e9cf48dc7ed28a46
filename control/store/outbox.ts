import { and, asc, eq, inArray } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { type OutboxRow, outbox } from '#control/store/schema/outbox.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { OutboxRow }

export async function appendOutbox(tx: Tx, row: OutboxRow): Promise<void> {
  await tx.insert(outbox).values(row)
}

/** Oldest first, at most 500. */
export const loadOutbox = (tx: Tx, mesh: MeshName): Promise<OutboxRow[]> =>
  tx.select().from(outbox).where(eq(outbox.mesh, mesh)).orderBy(asc(outbox.id)).limit(500)

/** Only what was read before the work is deleted after it: what came meanwhile stays for the next round. */
export async function deleteOutbox(tx: Tx, mesh: MeshName, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await tx.delete(outbox).where(and(eq(outbox.mesh, mesh), inArray(outbox.id, [...ids])))
}

/** True while the outbox has any work. */
export async function isAsked(tx: Tx, mesh: MeshName): Promise<boolean> {
  const rows = await tx.select({ id: outbox.id }).from(outbox).where(eq(outbox.mesh, mesh)).limit(1)
  return rows.length > 0
}
