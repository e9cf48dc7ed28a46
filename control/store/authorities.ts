import { and, asc, eq, inArray } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type AuthorityRow, authorities, type NewAuthority } from '#control/store/schema/authority.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { certificatePem, parseCertificates } from '#mesh/trust/certificate.ts'

export type { AuthorityRow }

/** All authorities of a mesh, oldest first: a handful, whatever its age. */
export const loadAuthorities = (tx: Tx, mesh: MeshName): Promise<AuthorityRow[]> =>
  tx.select().from(authorities).where(eq(authorities.mesh, mesh)).orderBy(asc(authorities.id))

/** Certificates (PEM, oldest first) of every root that members have to accept. */
export async function loadTrustedRoots(tx: Tx, mesh: MeshName): Promise<string[]> {
  const rows = await tx
    .select({ certificate: authorities.certificate, trusted: authorities.trusted })
    .from(authorities)
    .where(
      and(
        eq(authorities.mesh, mesh),
        eq(authorities.kind, 'root'),
        inArray(authorities.state, ['published', 'active', 'tainted']),
      ),
    )
    .orderBy(asc(authorities.id))
  return [...new Set(rows.flatMap(trustedBy))]
}

/** PEM of what members have to accept so that they accept what this authority signs. */
export const trustedBy = (row: Pick<AuthorityRow, 'certificate' | 'trusted'>): readonly string[] =>
  row.trusted ? parseCertificates(row.trusted, 'trusted').map(certificatePem) : [row.certificate]

export async function insertAuthority(tx: Tx, row: NewAuthority): Promise<void> {
  kept(tx, authorities, await tx.insert(authorities).values(row).returning())
}

/** Moves an authority on to a state; false where it has left `from` meanwhile. */
export async function moveAuthority(
  tx: Tx,
  row: Pick<AuthorityRow, 'mesh' | 'id' | 'state' | 'revision'>,
  state: AuthorityRow['state'],
  now: number,
): Promise<boolean> {
  const isThis = and(eq(authorities.mesh, row.mesh), eq(authorities.id, row.id), eq(authorities.state, row.state))
  const set = { state, stateAt: now, revision: (row.revision ?? 1) + 1 }
  return kept(tx, authorities, await tx.update(authorities).set(set).where(isThis).returning()) !== undefined
}
