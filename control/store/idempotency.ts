import { and, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { type IdempotencyRow, idempotency } from '#control/store/schema/once.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { IdempotencyRow }

export async function loadAnswer(tx: Tx, mesh: MeshName, key: string): Promise<IdempotencyRow | undefined> {
  const [row] = await tx
    .select()
    .from(idempotency)
    .where(and(eq(idempotency.mesh, mesh), eq(idempotency.key, key)))
  return row
}

/** Throws the engine's duplicate error where another request under the same key was faster. */
export async function saveAnswer(tx: Tx, row: IdempotencyRow): Promise<void> {
  await tx.insert(idempotency).values(row)
}
