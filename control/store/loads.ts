import { and, asc, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { loads } from '#control/store/schema/traffic.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { ClusterName, MeshName } from '#mesh/model/id.ts'
import type { Load } from '#mesh/model/load.ts'
import { loadSchema } from '#mesh/wire/load.ts'

/** What one cluster's relay last measured, and when the centre took it (Unix ms, the centre's clock). */
export type StoredLoad = { readonly cluster: ClusterName; readonly takenAt: number; readonly load: Load }

/**
 * The last report of each cluster that made one, by name. A row that this build cannot read is left out: not measured, and
 * soon written anew.
 */
export async function loadLoads(tx: Tx, mesh: MeshName): Promise<StoredLoad[]> {
  const rows = await tx.select().from(loads).where(eq(loads.mesh, mesh)).orderBy(asc(loads.cluster))
  return rows.flatMap((row) => storedOf(row) ?? [])
}

export async function loadLoad(tx: Tx, mesh: MeshName, cluster: ClusterName): Promise<StoredLoad | undefined> {
  const [row] = await tx.select().from(loads).where(isOf(mesh, cluster))
  return row && storedOf(row)
}

/** Puts the report in the place of the cluster's last one. */
export async function saveLoad(tx: Tx, mesh: MeshName, { cluster, takenAt, load }: StoredLoad): Promise<void> {
  const body = canonicalJson(load as Json)
  const set = { at: takenAt, body }
  await tx
    .insert(loads)
    .values({ mesh, cluster, ...set })
    .onConflictDoUpdate({ target: [loads.mesh, loads.cluster], set })
}

/** Forgets what a cluster that is no member any more measured. */
export async function deleteLoad(tx: Tx, mesh: MeshName, cluster: string): Promise<void> {
  await tx.delete(loads).where(isOf(mesh, cluster))
}

const isOf = (mesh: MeshName, cluster: string) => and(eq(loads.mesh, mesh), eq(loads.cluster, cluster))

function storedOf({ cluster, at, body }: typeof loads.$inferSelect): StoredLoad | undefined {
  const read = loadSchema.safeParse(JSON.parse(body))
  return read.success ? { cluster: cluster as ClusterName, takenAt: at, load: read.data } : undefined
}

/** When the last report of each cluster was taken. */
export const loadLoadTimes = (tx: Tx, mesh: MeshName): Promise<{ cluster: string; at: number }[]> =>
  tx
    .select({ cluster: loads.cluster, at: loads.at })
    .from(loads)
    .where(eq(loads.mesh, mesh))
    .orderBy(asc(loads.cluster))
