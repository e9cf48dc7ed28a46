import type { Tx } from '#control/store/database.ts'
import { durable, durableDelete, ephemeral } from '#control/store/durable.ts'

type DurableTable = Parameters<typeof durable>[1]

/**
 * Notes for the journal what a statement wrote to a durable table (`rows` is all that `returning()` gave, maybe nothing)
 * and gives back the first row.
 */
export function kept<T extends DurableTable>(
  tx: Tx,
  table: T,
  rows: readonly T['$inferSelect'][],
): T['$inferSelect'] | undefined {
  ephemeral(tx, table)
  for (const row of rows) durable(tx, table, row)
  return rows[0]
}

/** As `kept`, for rows that a statement deleted. */
export function dropped<T extends DurableTable>(tx: Tx, table: T, rows: readonly T['$inferSelect'][]): boolean {
  ephemeral(tx, table)
  for (const row of rows) durableDelete(tx, table, row)
  return rows.length > 0
}
