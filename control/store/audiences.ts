import { and, eq, inArray } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { audiences } from '#control/store/schema/stream.ts'

/** Remembers whom an audience means, whenever a stream is made for it. Its name is a hash of the members. */
export async function saveAudience(
  tx: Tx,
  audience: { readonly mesh: string; readonly name: string; readonly members: readonly string[] },
  now: number,
): Promise<void> {
  const { mesh, name } = audience
  await tx
    .insert(audiences)
    .values({ mesh, audience: name, members: JSON.stringify(audience.members.toSorted()), usedAt: now })
    .onConflictDoUpdate({ target: [audiences.mesh, audiences.audience], set: { usedAt: now } })
}

/** The members of each of these audiences; one that is not known is absent, which is not the same as empty. */
export async function loadAudiences(
  tx: Tx,
  mesh: string,
  names: readonly string[],
): Promise<Map<string, ReadonlySet<string>>> {
  if (names.length === 0) return new Map()
  const rows = await tx
    .select()
    .from(audiences)
    .where(and(eq(audiences.mesh, mesh), inArray(audiences.audience, [...new Set(names)])))
  return new Map(rows.map((row) => [row.audience, new Set(JSON.parse(row.members) as string[])]))
}
