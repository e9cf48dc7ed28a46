import { parseReport } from '#control/parse-report.ts'
import type { Tx } from '#control/store/database.ts'
import { isAsked } from '#control/store/outbox.ts'
import type { ClusterRow } from '#control/store/schema/cluster.ts'
import { toWrite, type Write, writeItems } from '#control/store/stream-writes.ts'
import { loadItems, loadStream } from '#control/store/streams.ts'
import type { StreamChange } from '#control/stream-change.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { parseReportKey } from '#mesh/wire/report.ts'
import { epStream, everybody } from '#mesh/wire/stream.ts'

/**
 * The short way of `projectCluster` for what nearly all reports are: new counts of services that everybody may read and
 * has read before. Who may read them was decided when they came into that stream, so exports, members and the operator's
 * lists are not read again. `writes` are the items of the report that changed.
 *
 * Undefined, and nothing written, where it is anything else: an export or the gateways, a summary that comes, goes or
 * names pod addresses, one with readers of its own, or while the outbox has work, which may be another word on who reads.
 *
 * The caller holds the lock of `rep/<cluster>`, under which alone the cluster's `ep` streams are written.
 */
export async function projectSummaries(
  tx: Tx,
  cluster: ClusterRow,
  writes: readonly Write[],
  now: number,
): Promise<StreamChange[] | undefined> {
  if (!writes.every(({ key, body }) => parseReportKey(key)?.kind === 'summary' && body !== '')) return undefined
  const { summaries, setAside } = parseReport(writes, ['summary'])
  if (setAside.length > 0 || [...summaries.values()].some(({ flat }) => flat !== undefined)) return undefined
  const mesh = parseMeshName(cluster.mesh)
  if (await isAsked(tx, mesh)) return undefined
  const stream = await loadStream(tx, { mesh, stream: epStream(cluster.name, everybody) })
  if (!stream) return undefined
  const before = await loadItems(tx, stream, [...summaries.keys()])
  if (before.filter(({ gone }) => !gone).length < summaries.size) return undefined
  const list = [...summaries].map(([key, summary]) => toWrite({ key, body: { ...summary } }))
  const { delta } = await writeItems(tx, stream, list, { now, before })
  return delta ? [{ stream: delta.stream, epoch: delta.epoch, rev: delta.to, delta }] : []
}
