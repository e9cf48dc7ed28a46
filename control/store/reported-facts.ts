import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { dropped, kept } from '#control/store/kept.ts'
import { type ReportedFactRow, reportedFacts } from '#control/store/schema/reported-fact.ts'
import { lockStream, type Write, writeItems } from '#control/store/stream-writes.ts'
import { loadStream } from '#control/store/streams.ts'
import { reportStream } from '#mesh/wire/stream.ts'

type Of = { readonly mesh: string; readonly cluster: string }

const isOf = ({ mesh, cluster }: Of) => and(eq(reportedFacts.mesh, mesh), eq(reportedFacts.cluster, cluster))

/** Keeps the facts of a report durably; a write without a hash = gone. */
export async function saveFacts(tx: Tx, of: Of, writes: readonly Write[]): Promise<void> {
  const { mesh, cluster } = of
  const latest = [...new Map(writes.map((write) => [write.key, write])).values()]
  const gone = latest.filter((write) => write.hash === '').map((write) => write.key)
  const isGone = and(isOf(of), inArray(reportedFacts.key, gone))
  if (gone.length > 0) dropped(tx, reportedFacts, await tx.delete(reportedFacts).where(isGone).returning())
  const rows = latest
    .filter((write) => write.hash !== '')
    .map(({ key, hash, body }) => ({ mesh, cluster, key, hash, body }))
  const target = [reportedFacts.mesh, reportedFacts.cluster, reportedFacts.key]
  const set = { hash: sql`excluded.hash`, body: sql`excluded.body` }
  for (let at = 0; at < rows.length; at += rowsMax) {
    const part = rows.slice(at, at + rowsMax)
    const insert = tx.insert(reportedFacts).values(part).onConflictDoUpdate({ target, set })
    kept(tx, reportedFacts, await insert.returning())
  }
}

const rowsMax = 500

/** Forgets all facts of a cluster. */
export async function dropFacts(tx: Tx, of: Of): Promise<void> {
  dropped(tx, reportedFacts, await tx.delete(reportedFacts).where(isOf(of)).returning())
}

/**
 * Makes the missing `rep` streams of clusters whose facts are known, for a database that came back from its journal. They
 * belong to no epoch of a relay, so the next report begins anew and takes away what it does not name.
 */
export async function restoreReports(tx: Tx, now: number): Promise<number> {
  const byCluster = new Map<string, ReportedFactRow[]>()
  for (const row of await tx.select().from(reportedFacts)) {
    const name = `${row.mesh} ${row.cluster}`
    byCluster.set(name, [...(byCluster.get(name) ?? []), row])
  }
  let restored = 0
  for (const rows of byCluster.values()) {
    const [{ mesh = '', cluster = '' } = {}] = rows
    const ref = { mesh, stream: reportStream(cluster) }
    if (await loadStream(tx, ref)) continue
    await writeItems(tx, await lockStream(tx, ref, now), rows, { now })
    restored++
  }
  return restored
}
