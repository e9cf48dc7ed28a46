import { asc, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { type ForeignDomainRow, foreignDomains } from '#control/store/schema/trust.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { ForeignDomainRow }

/** All of a mesh, by name. */
export const loadForeignDomains = (tx: Tx, mesh: MeshName): Promise<ForeignDomainRow[]> =>
  tx.select().from(foreignDomains).where(eq(foreignDomains.mesh, mesh)).orderBy(asc(foreignDomains.trustDomain))
