import { and, eq, isNull, lt } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type JoinTokenRow, joinTokens } from '#control/store/schema/join-token.ts'

export type { JoinTokenRow }

export async function loadJoinToken(tx: Tx, hash: string): Promise<JoinTokenRow | undefined> {
  const [row] = await tx.select().from(joinTokens).where(eq(joinTokens.hash, hash))
  return row
}

/** The same token again (a repeated request) changes nothing. */
export async function saveJoinToken(tx: Tx, row: JoinTokenRow): Promise<void> {
  kept(tx, joinTokens, await tx.insert(joinTokens).values(row).onConflictDoNothing().returning())
}

/** True where this call spent the token; false where it was spent before. */
export async function redeemJoinToken(tx: Tx, hash: string, thumbprint: string, now: number): Promise<boolean> {
  const rows = await tx
    .update(joinTokens)
    .set({ redeemedAt: now, redeemedThumbprint: thumbprint })
    .where(and(eq(joinTokens.hash, hash), isNull(joinTokens.redeemedAt)))
    .returning()
  return kept(tx, joinTokens, rows) !== undefined
}

/** Takes back every token of a cluster: it left, or was deleted. */
export async function deleteJoinTokens(tx: Tx, mesh: string, clusterId: string): Promise<void> {
  const theirs = and(eq(joinTokens.mesh, mesh), eq(joinTokens.clusterId, clusterId))
  dropped(tx, joinTokens, await tx.delete(joinTokens).where(theirs).returning())
}

export async function pruneJoinTokens(tx: Tx, before: number): Promise<void> {
  dropped(tx, joinTokens, await tx.delete(joinTokens).where(lt(joinTokens.expiresAt, before)).returning())
}
