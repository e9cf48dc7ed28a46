import { and, desc, eq, like, lt } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { type RotationRow, rotations } from '#control/store/schema/trust.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { RotationRow }

/** What a rotation's slot is while it runs, by what is rotated. Two of one slot cannot be stored. */
export const openSlot = (what: string): string => `open:${what}`
export const isOpen = (row: Pick<RotationRow, 'slot'>): boolean => row.slot.startsWith('open:')

/** Newest first; those before an id only. */
export const loadRotations = (tx: Tx, mesh: MeshName, before: string, limit: number): Promise<RotationRow[]> =>
  tx
    .select()
    .from(rotations)
    .where(and(eq(rotations.mesh, mesh), ...(before === '' ? [] : [lt(rotations.id, before)])))
    .orderBy(desc(rotations.id))
    .limit(limit)

/** Those that run. */
export const loadOpenRotations = (tx: Tx, mesh: MeshName): Promise<RotationRow[]> =>
  tx
    .select()
    .from(rotations)
    .where(and(eq(rotations.mesh, mesh), like(rotations.slot, 'open:%')))
    .orderBy(rotations.id)

export async function loadRotation(tx: Tx, mesh: MeshName, id: string): Promise<RotationRow | undefined> {
  const [row] = await tx
    .select()
    .from(rotations)
    .where(and(eq(rotations.mesh, mesh), eq(rotations.id, id)))
  return row
}

export async function insertRotation(tx: Tx, row: RotationRow): Promise<void> {
  kept(tx, rotations, await tx.insert(rotations).values(row).returning())
}

/** Writes `change` where the rotation is still at `row.revision`; undefined where somebody else was faster. */
export async function updateRotation(
  tx: Tx,
  row: RotationRow,
  change: Partial<Pick<RotationRow, 'slot' | 'step' | 'stepAt' | 'seq' | 'forced'>>,
): Promise<RotationRow | undefined> {
  const isThis = and(eq(rotations.mesh, row.mesh), eq(rotations.id, row.id), eq(rotations.revision, row.revision))
  const set = { ...change, revision: row.revision + 1 }
  return kept(tx, rotations, await tx.update(rotations).set(set).where(isThis).returning())
}
