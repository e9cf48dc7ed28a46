import { and, eq, sql } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { items } from '#control/store/schema/stream.ts'
import type { StreamRef } from '#control/store/streams.ts'

/** How much a stream holds: live items, all rows (with those that are gone and not swept yet), and bytes of bodies. */
export type Weight = { readonly live: number; readonly rows: number; readonly bytes: number }

/** Reads every row of the stream, though no body. */
export async function weigh(tx: Tx, { mesh, stream }: StreamRef): Promise<Weight> {
  const [row] = await tx
    .select({
      live: sql<unknown>`sum(case when ${items.gone} then 0 else 1 end)`,
      rows: sql<unknown>`count(*)`,
      bytes: sql<unknown>`sum(octet_length(${items.body}))`,
    })
    .from(items)
    .where(and(eq(items.mesh, mesh), eq(items.stream, stream)))
  return { live: Number(row?.live ?? 0), rows: Number(row?.rows ?? 0), bytes: Number(row?.bytes ?? 0) }
}
