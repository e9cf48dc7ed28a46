import { and, eq, inArray, isNull, lt, sql } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { exportAges } from '#control/store/schema/export-age.ts'
import { chunks, rowsMax } from '#control/store/streams.ts'
import type { ServiceKey } from '#mesh/model/id.ts'

type Of = { readonly mesh: string; readonly cluster: string }

/** How long a withdrawn export keeps its age: an object that is deleted and made anew is the same export to its users. */
export const ageKeptMs = 15 * 60_000

const isOf = ({ mesh, cluster }: Of) => and(eq(exportAges.mesh, mesh), eq(exportAges.cluster, cluster))

/** Unix ms from which on the centre knows of each export of a cluster. One that has no row was there before such rows were. */
export async function loadExportAges(tx: Tx, of: Of): Promise<ReadonlyMap<ServiceKey, number>> {
  const rows = await tx.select().from(exportAges).where(isOf(of))
  return new Map(rows.map(({ service, since }) => [service as ServiceKey, since]))
}

/** Notes exports that came (`made`) and went (`gone`). One that comes back in time is as old as it was. */
export async function saveExportAges(
  tx: Tx,
  of: Of,
  {
    made,
    gone,
    now,
  }: { readonly made: readonly ServiceKey[]; readonly gone: readonly ServiceKey[]; readonly now: number },
): Promise<void> {
  for (const part of chunks(gone, rowsMax)) {
    const stands = and(isOf(of), inArray(exportAges.service, [...part]), isNull(exportAges.goneAt))
    kept(tx, exportAges, await tx.update(exportAges).set({ goneAt: now }).where(stands).returning())
  }
  for (const part of chunks(made, rowsMax)) {
    const old = await tx
      .select()
      .from(exportAges)
      .where(and(isOf(of), inArray(exportAges.service, [...part])))
    const since = new Map(old.filter((row) => isKept(row.goneAt, now)).map((row) => [row.service, row.since]))
    const rows = part.map((service) => ({ ...of, service, since: since.get(service) ?? now, goneAt: null }))
    const target = [exportAges.mesh, exportAges.cluster, exportAges.service]
    const set = { since: sql`excluded.since`, goneAt: sql`excluded.gone_at` }
    kept(tx, exportAges, await tx.insert(exportAges).values(rows).onConflictDoUpdate({ target, set }).returning())
  }
}

const isKept = (goneAt: number | null, now: number): boolean => goneAt === null || now - goneAt <= ageKeptMs

/** Forgets the exports of a cluster: what it offers in a later life is new. */
export async function dropExportAges(tx: Tx, of: Of): Promise<void> {
  dropped(tx, exportAges, await tx.delete(exportAges).where(isOf(of)).returning())
}

/** Forgets exports that were withdrawn too long ago to come back as what they were; `limit` at a time. */
export async function sweepExportAges(tx: Tx, now: number, limit: number): Promise<number> {
  const isOld = lt(exportAges.goneAt, now - ageKeptMs)
  const old = await tx.select().from(exportAges).where(isOld).limit(limit)
  for (const { mesh, cluster, service } of old) {
    const is = and(isOf({ mesh, cluster }), eq(exportAges.service, service), isOld)
    dropped(tx, exportAges, await tx.delete(exportAges).where(is).returning())
  }
  return old.length
}
