import { and, eq, sql } from 'drizzle-orm'
import { LostRace, type Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type MeshMarkRow, meshMarks } from '#control/store/schema/traffic.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { MeshMarkRow }

type Name = MeshMarkRow['name']

const isMark = (mesh: string, name: Name) => and(eq(meshMarks.mesh, mesh), eq(meshMarks.name, name))

export async function loadMark(tx: Tx, mesh: MeshName, name: Name): Promise<MeshMarkRow | undefined> {
  const [row] = await tx.select().from(meshMarks).where(isMark(mesh, name))
  return row
}

/**
 * A mark, locked until the transaction ends; made with the value '' where there is none. What is written under it has
 * one order, the same for every reader.
 */
export async function lockMark(tx: Tx, mesh: MeshName, name: Name): Promise<MeshMarkRow> {
  const lock = () =>
    tx
      .update(meshMarks)
      .set({ revision: sql`${meshMarks.revision}` })
      .where(isMark(mesh, name))
      .returning()
  const found = kept(tx, meshMarks, await lock())
  if (found) return found
  const fresh: MeshMarkRow = { ...{ mesh, name, value: '', by: '', reason: '' }, at: 0, revision: 0 }
  kept(tx, meshMarks, await tx.insert(meshMarks).values(fresh).onConflictDoNothing().returning())
  const made = kept(tx, meshMarks, await lock())
  if (!made) throw new LostRace(`the mark ${name} was removed while it was made`)
  return made
}

/** Writes a mark that this transaction has locked; its revision goes up by one. */
export async function saveMark(tx: Tx, row: MeshMarkRow): Promise<void> {
  const { value, by, reason, at } = row
  const changes = { value, by, reason, at, revision: row.revision + 1 }
  kept(tx, meshMarks, await tx.update(meshMarks).set(changes).where(isMark(row.mesh, row.name)).returning())
}
