import { and, eq } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { type LeaseRow, leases } from '#control/store/schema/outbox.ts'

export type LeaseName = Pick<LeaseRow, 'mesh' | 'name'>

const named = ({ mesh, name }: LeaseName) => and(eq(leases.mesh, mesh), eq(leases.name, name))

/**
 * Takes or renews a lease for `holder` until `until`. `fresh` where somebody else (or nobody) held it last; undefined
 * where somebody holds it now.
 */
export async function takeLease(
  tx: Tx,
  lease: LeaseName,
  asked: { readonly holder: string; readonly now: number; readonly until: number },
): Promise<{ readonly fresh: boolean } | undefined> {
  const { holder, now, until } = asked
  const [row] = await tx.select().from(leases).where(named(lease))
  if (!row) {
    const made = { mesh: lease.mesh, name: lease.name, holder, until, version: 1 }
    const rows = await tx.insert(leases).values(made).onConflictDoNothing().returning()
    return rows.length === 1 ? { fresh: true } : undefined
  }
  if (row.holder !== holder && row.until > now) return undefined
  const rows = await tx
    .update(leases)
    .set({ holder, until, version: row.version + 1 })
    .where(and(named(lease), eq(leases.version, row.version)))
    .returning()
  return rows.length === 1 ? { fresh: row.holder !== holder } : undefined
}

/**
 * Renews a lease inside the transaction of the work it is for, and locks it there: nobody takes it over before that work
 * is committed. False where it was taken over already.
 */
export async function holdLease(tx: Tx, lease: LeaseName, holder: string, until: number): Promise<boolean> {
  const rows = await tx
    .update(leases)
    .set({ until })
    .where(and(named(lease), eq(leases.holder, holder)))
    .returning()
  return rows.length === 1
}
