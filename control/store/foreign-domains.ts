import { and, asc, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type ForeignDomainRow, foreignDomains } from '#control/store/schema/trust.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { ForeignDomainRow }

/** All of a mesh, by name. */
export const loadForeignDomains = (tx: Tx, mesh: MeshName): Promise<ForeignDomainRow[]> =>
  tx.select().from(foreignDomains).where(eq(foreignDomains.mesh, mesh)).orderBy(asc(foreignDomains.trustDomain))

export async function loadForeignDomain(
  tx: Tx,
  mesh: MeshName,
  trustDomain: string,
): Promise<ForeignDomainRow | undefined> {
  const [row] = await tx.select().from(foreignDomains).where(named({ mesh, trustDomain }))
  return row
}

export async function insertForeignDomain(tx: Tx, row: ForeignDomainRow): Promise<void> {
  kept(tx, foreignDomains, await tx.insert(foreignDomains).values(row).returning())
}

export type ForeignDomainChange = Pick<ForeignDomainRow, 'roots' | 'sequence' | 'refreshSeconds' | 'updatedAt'>

/** The row as it is then; undefined where it moved on since it was read. */
export async function updateForeignDomain(
  tx: Tx,
  row: ForeignDomainRow,
  change: ForeignDomainChange,
): Promise<ForeignDomainRow | undefined> {
  const isThis = and(named(row), eq(foreignDomains.revision, row.revision))
  const set = { ...change, revision: row.revision + 1 }
  return kept(tx, foreignDomains, await tx.update(foreignDomains).set(set).where(isThis).returning())
}

/** False where it moved on since it was read. */
export async function deleteForeignDomain(tx: Tx, row: ForeignDomainRow): Promise<boolean> {
  const isThis = and(named(row), eq(foreignDomains.revision, row.revision))
  return dropped(tx, foreignDomains, await tx.delete(foreignDomains).where(isThis).returning())
}

const named = ({ mesh, trustDomain }: { readonly mesh: string; readonly trustDomain: string }) =>
  and(eq(foreignDomains.mesh, mesh), eq(foreignDomains.trustDomain, trustDomain))
