import { and, asc, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type ForeignDomainRow, foreignDomains } from '#control/store/schema/trust.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { ForeignDomainRow }

const isThis = (mesh: MeshName, trustDomain: string) =>
  and(eq(foreignDomains.mesh, mesh), eq(foreignDomains.trustDomain, trustDomain))

/** All of a mesh, by name. */
export const loadForeignDomains = (tx: Tx, mesh: MeshName): Promise<ForeignDomainRow[]> =>
  tx.select().from(foreignDomains).where(eq(foreignDomains.mesh, mesh)).orderBy(asc(foreignDomains.trustDomain))

export async function loadForeignDomain(
  tx: Tx,
  mesh: MeshName,
  trustDomain: string,
): Promise<ForeignDomainRow | undefined> {
  const [row] = await tx.select().from(foreignDomains).where(isThis(mesh, trustDomain))
  return row
}

export async function saveForeignDomain(tx: Tx, row: ForeignDomainRow): Promise<void> {
  const { roots, revision } = row
  const target = [foreignDomains.mesh, foreignDomains.trustDomain]
  const insert = tx.insert(foreignDomains).values(row).onConflictDoUpdate({ target, set: { roots, revision } })
  kept(tx, foreignDomains, await insert.returning())
}

export async function dropForeignDomainRow(tx: Tx, mesh: MeshName, trustDomain: string): Promise<boolean> {
  return dropped(tx, foreignDomains, await tx.delete(foreignDomains).where(isThis(mesh, trustDomain)).returning())
}
