import type { Tx } from '#control/store/database.ts'
import type { Write } from '#control/store/stream-writes.ts'
import type { StreamRow } from '#control/store/streams.ts'
import { weigh } from '#control/store/weigh.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * How much of one cluster's report is kept. `items`: about three a service. `names`: with those that are gone, which are
 * kept a day so that readers hear of it. `bytes`: of all bodies together.
 */
export type ReportBounds = { readonly items: number; readonly names: number; readonly bytes: number }
export const reportBounds: ReportBounds = { items: 30_000, names: 120_000, bytes: 64 * 1024 * 1024 }

/** So many bytes each item may have, all at once, without coming near the bound: only larger ones are worth weighing. */
const lightBytes = Math.floor(reportBounds.bytes / reportBounds.items)

/**
 * Refuses what a batch has made of a report, once it is written and before it is committed. Endpoints that come and go
 * cost nothing here: a report is weighed when it names something new, or something large.
 *
 * Throws `too-many` that names the bound; nothing of the batch is kept then, and what was stored before stays in force.
 */
export async function checkReportBounds(
  tx: Tx,
  rep: StreamRow,
  batch: { readonly grew: boolean; readonly writes: readonly Write[] },
  bounds: ReportBounds = reportBounds,
): Promise<void> {
  if (!batch.grew && batch.writes.every(({ body }) => body.length <= lightBytes)) return
  const { live, rows, bytes } = await weigh(tx, rep)
  const excess =
    live > bounds.items
      ? `reports more than ${bounds.items} items: export fewer services`
      : bytes > bounds.bytes
        ? `reports more than ${bounds.bytes} bytes in all: export fewer services, or with fewer ports and zones`
        : rows > bounds.names
          ? `has reported more than ${bounds.names} different names within a day: let services keep theirs`
          : undefined
  if (excess !== undefined)
    throw new Problem(
      'too-many',
      `cluster ${rep.source} ${excess}; nothing of this batch was taken, what was reported before stays in force`,
      { extra: { retryAfterSeconds: 30 } },
    )
}
