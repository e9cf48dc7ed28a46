import type { Tx } from '#control/store/database.ts'
import { loadLive, loadStreams } from '#control/store/streams.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { MeshName } from '#mesh/model/id.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import { parseSummaries } from '#mesh/wire/summaries.ts'

/** What every cluster says of itself to others: ready pods and gateways, all audiences together. */
export async function loadSummaries(tx: Tx, mesh: MeshName): Promise<Summaries> {
  const streams: [string, Map<string, Json>][] = []
  for (const { stream } of await loadStreams(tx, mesh, ['ep'])) {
    const items = await loadLive(tx, { mesh, stream })
    streams.push([stream, new Map(items.map(({ key, body }) => [key, JSON.parse(body) as Json]))])
  }
  return parseSummaries(streams).summaries
}
