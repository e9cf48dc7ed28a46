import { and, desc, eq, inArray, like, lt } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type DrainRow, drains } from '#control/store/schema/traffic.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { DrainRow }

/** The slot of a drain while it holds its subject: two of one slot cannot be stored. Once it is undone, it is its id. */
export const drainSlot = ({ kind, subject }: Pick<DrainRow, 'kind' | 'subject'>): string => `open:${kind}:${subject}`

/** Newest first; those before an id only. */
export const loadDrains = (tx: Tx, mesh: MeshName, before: string, limit: number): Promise<DrainRow[]> =>
  tx
    .select()
    .from(drains)
    .where(and(eq(drains.mesh, mesh), ...(before === '' ? [] : [lt(drains.id, before)])))
    .orderBy(desc(drains.id))
    .limit(limit)

/** Those that hold their subject: on its way out, out, or on its way back. Oldest first. */
export const loadOpenDrains = (tx: Tx, mesh: MeshName): Promise<DrainRow[]> =>
  tx
    .select()
    .from(drains)
    .where(and(eq(drains.mesh, mesh), like(drains.slot, 'open:%')))
    .orderBy(drains.id)

export async function loadDrain(tx: Tx, mesh: MeshName, id: string): Promise<DrainRow | undefined> {
  const [row] = await tx
    .select()
    .from(drains)
    .where(and(eq(drains.mesh, mesh), eq(drains.id, id)))
  return row
}

export async function insertDrain(tx: Tx, row: DrainRow): Promise<void> {
  kept(tx, drains, await tx.insert(drains).values(row).returning())
}

/** Writes `change` where the drain is still at `row.revision`; undefined where somebody else was faster. */
export async function updateDrain(
  tx: Tx,
  row: DrainRow,
  change: Partial<Pick<DrainRow, 'slot' | 'state' | 'percent' | 'stepAt' | 'why' | 'proof' | 'baseline'>>,
): Promise<DrainRow | undefined> {
  const isThis = and(eq(drains.mesh, row.mesh), eq(drains.id, row.id), eq(drains.revision, row.revision))
  const set = { ...change, revision: row.revision + 1 }
  return kept(tx, drains, await tx.update(drains).set(set).where(isThis).returning())
}

/** Forgets drains that were undone before `before` (Unix ms), at most `limit` of them; gives back how many. */
export async function pruneDrains(tx: Tx, mesh: MeshName, before: number, limit: number): Promise<number> {
  const isOver = and(eq(drains.mesh, mesh), eq(drains.state, 'undone'), lt(drains.stepAt, before))
  const rows = await tx.select({ id: drains.id }).from(drains).where(isOver).orderBy(drains.id).limit(limit)
  if (rows.length === 0) return 0
  const ids = rows.map(({ id }) => id)
  const gone = await tx
    .delete(drains)
    .where(and(eq(drains.mesh, mesh), inArray(drains.id, ids)))
    .returning()
  dropped(tx, drains, gone)
  return gone.length
}
