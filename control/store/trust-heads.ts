import { and, eq, sql } from 'drizzle-orm'
import { LostRace, type Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type TrustHeadRow, trustHeads } from '#control/store/schema/trust.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { TrustHeadRow }

type Name = TrustHeadRow['name']

const isHead = (mesh: MeshName, name: Name) => and(eq(trustHeads.mesh, mesh), eq(trustHeads.name, name))

export async function loadTrustHead(tx: Tx, mesh: MeshName, name: Name): Promise<TrustHeadRow | undefined> {
  const [row] = await tx.select().from(trustHeads).where(isHead(mesh, name))
  return row
}

/**
 * The end of a chain, locked until the transaction ends; made where there is none. Whoever appends takes this first, so
 * numbers are contiguous and no two rows follow the same one.
 */
export async function lockTrustHead(tx: Tx, mesh: MeshName, name: Name): Promise<TrustHeadRow> {
  const lock = () =>
    tx
      .update(trustHeads)
      .set({ seq: sql`${trustHeads.seq}` })
      .where(isHead(mesh, name))
      .returning()
  const found = kept(tx, trustHeads, await lock())
  if (found) return found
  const fresh: TrustHeadRow = { mesh, name, seq: 0, hash: '' }
  kept(tx, trustHeads, await tx.insert(trustHeads).values(fresh).onConflictDoNothing().returning())
  const made = kept(tx, trustHeads, await lock())
  if (!made) throw new LostRace(`the head ${name} was removed while it was made`)
  return made
}

export async function moveTrustHead(tx: Tx, row: TrustHeadRow): Promise<void> {
  const { mesh, name, seq, hash } = row
  const isThis = and(eq(trustHeads.mesh, mesh), eq(trustHeads.name, name))
  kept(tx, trustHeads, await tx.update(trustHeads).set({ seq, hash }).where(isThis).returning())
}
