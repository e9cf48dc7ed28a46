import { and, asc, desc, eq, inArray, ne } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type BundleLinkRow, bundleLinks } from '#control/store/schema/trust.ts'
import type { MeshName } from '#mesh/model/id.ts'

export type { BundleLinkRow }

const isOf = (mesh: MeshName) => eq(bundleLinks.mesh, mesh)

/** The row of the bundle in force; undefined before the first. */
export async function loadLastLink(tx: Tx, mesh: MeshName): Promise<BundleLinkRow | undefined> {
  const [row] = await tx.select().from(bundleLinks).where(isOf(mesh)).orderBy(desc(bundleLinks.seq)).limit(1)
  return row
}

/** All that are kept, in order: a few hundred at most. */
export const loadLinks = (tx: Tx, mesh: MeshName): Promise<BundleLinkRow[]> =>
  tx.select().from(bundleLinks).where(isOf(mesh)).orderBy(asc(bundleLinks.seq))

/** Adds the newest row; those before it hold no bundle any more. */
export async function insertLink(tx: Tx, row: BundleLinkRow): Promise<void> {
  const mesh = row.mesh as MeshName
  const isFull = and(isOf(mesh), ne(bundleLinks.bundle, ''))
  kept(tx, bundleLinks, await tx.update(bundleLinks).set({ bundle: '' }).where(isFull).returning())
  kept(tx, bundleLinks, await tx.insert(bundleLinks).values(row).returning())
}

export async function dropLinks(tx: Tx, mesh: MeshName, seqs: readonly number[]): Promise<void> {
  if (seqs.length === 0) return
  const isThese = and(isOf(mesh), inArray(bundleLinks.seq, [...seqs]))
  dropped(tx, bundleLinks, await tx.delete(bundleLinks).where(isThese).returning())
}
