import type { Tx } from '#control/store/database.ts'
import { assertions } from '#control/store/schema/once.ts'

/** True where this `jti` was never used before. Portable: a conflict writes nothing and returns nothing. */
export async function useAssertion(tx: Tx, jtiHash: string, expiresAt: number): Promise<boolean> {
  const rows = await tx
    .insert(assertions)
    .values({ jtiHash, expiresAt })
    .onConflictDoNothing()
    .returning({ jtiHash: assertions.jtiHash })
  return rows.length === 1
}
