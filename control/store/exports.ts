import { and, asc, eq, gt } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type ServiceExportRow, serviceExports } from '#control/store/schema/service-export.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { ServiceExportRow }

/** What names a narrowing: the service, and the one exporter it is about ('' = every exporter). */
export type NarrowingName = { readonly namespace: string; readonly name: string; readonly cluster: string }

const named = (mesh: MeshName, { namespace, name, cluster }: NarrowingName) =>
  and(
    eq(serviceExports.mesh, mesh),
    eq(serviceExports.namespace, namespace),
    eq(serviceExports.name, name),
    eq(serviceExports.cluster, cluster),
  )

export async function loadNarrowing(
  tx: Tx,
  mesh: MeshName,
  name: NarrowingName,
): Promise<ServiceExportRow | undefined> {
  const [row] = await tx.select().from(serviceExports).where(named(mesh, name))
  return row
}

/** All narrowings of a mesh, by id; those after `after` only. */
export const loadNarrowings = (tx: Tx, mesh: MeshName, after: string, limit: number): Promise<ServiceExportRow[]> =>
  tx
    .select()
    .from(serviceExports)
    .where(and(eq(serviceExports.mesh, mesh), gt(serviceExports.id, after)))
    .orderBy(asc(serviceExports.id))
    .limit(limit)

export async function insertNarrowing(tx: Tx, row: ServiceExportRow): Promise<void> {
  kept(tx, serviceExports, await tx.insert(serviceExports).values(row).returning())
}

/** Writes new consumers where the row is still at its revision; undefined where somebody else was faster. */
export async function updateNarrowing(
  tx: Tx,
  row: ServiceExportRow,
  consumers: string,
  now: number,
): Promise<ServiceExportRow | undefined> {
  const updated = await tx
    .update(serviceExports)
    .set({ consumers, updatedAt: now, revision: row.revision + 1 })
    .where(
      and(eq(serviceExports.mesh, row.mesh), eq(serviceExports.id, row.id), eq(serviceExports.revision, row.revision)),
    )
    .returning()
  return kept(tx, serviceExports, updated)
}

/** True where the row was there at its revision and is gone now. */
export async function deleteNarrowing(tx: Tx, row: ServiceExportRow): Promise<boolean> {
  const rows = await tx
    .delete(serviceExports)
    .where(
      and(eq(serviceExports.mesh, row.mesh), eq(serviceExports.id, row.id), eq(serviceExports.revision, row.revision)),
    )
    .returning()
  return dropped(tx, serviceExports, rows)
}
