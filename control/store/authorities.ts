import { and, asc, eq, inArray } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type AuthorityRow, authorities, type NewAuthority } from '#control/store/schema/authority.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { AuthorityRow }

/** All authorities of a mesh, oldest first: a handful, whatever its age. */
export const loadAuthorities = (tx: Tx, mesh: MeshName): Promise<AuthorityRow[]> =>
  tx.select().from(authorities).where(eq(authorities.mesh, mesh)).orderBy(asc(authorities.id))

/** Certificates (PEM, oldest first) of every root that members have to accept. */
export async function loadTrustedRoots(tx: Tx, mesh: MeshName): Promise<string[]> {
  const rows = await tx
    .select({ certificate: authorities.certificate })
    .from(authorities)
    .where(
      and(
        eq(authorities.mesh, mesh),
        eq(authorities.kind, 'root'),
        inArray(authorities.state, ['published', 'active', 'tainted']),
      ),
    )
    .orderBy(asc(authorities.id))
  return rows.map((row) => row.certificate)
}

export async function insertAuthority(tx: Tx, row: NewAuthority): Promise<void> {
  kept(tx, authorities, await tx.insert(authorities).values(row).returning())
}
