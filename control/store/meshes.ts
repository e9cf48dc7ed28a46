import { asc, eq, gt } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type MeshRow, meshes } from '#control/store/schema/mesh.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { MeshRow }

export async function loadMesh(tx: Tx, name: string): Promise<MeshRow | undefined> {
  const [row] = await tx.select().from(meshes).where(eq(meshes.name, name))
  return row
}

/** Meshes by name, those after `after` only. */
export const loadMeshes = (tx: Tx, after: string, limit: number): Promise<MeshRow[]> =>
  tx.select().from(meshes).where(gt(meshes.name, after)).orderBy(asc(meshes.name)).limit(limit)

/** A mesh that exists stays as it is. `sharedDomain`: the trust domain of a mesh of before, which its clusters share. */
export async function saveMesh(
  tx: Tx,
  name: MeshName,
  createdAt: number,
  sharedDomain: string | null = null,
): Promise<void> {
  kept(tx, meshes, await tx.insert(meshes).values({ name, createdAt, sharedDomain }).onConflictDoNothing().returning())
}
