import type { Json } from '#mesh/model/canonical.ts'
import { partsOf, type ServiceKey } from '#mesh/model/id.ts'
import type { PortCount, Summaries } from '#mesh/model/summary.ts'
import type { View } from '#mesh/model/view.ts'
import { clusterConfigHash, entriesOf } from '#mesh/wire/cluster-config.ts'
import { parseReportKey, serviceSummarySchema } from '#mesh/wire/report.ts'

/** Ready and total endpoints of one service in one place, in the form in which the API of the centre lists them. */
export type ServedEndpoints = PortCount & {
  readonly id: string
  readonly namespace: string
  readonly name: string
  readonly cluster: string
}

/**
 * What this relay knows of endpoints: those that its own cluster reports (`told`, the items of its report) and what it
 * heard of other clusters. Sorted by id. For whoever asks while the centre is away.
 */
export function servedEndpoints(cluster: string, told: ReadonlyMap<string, Json>, heard: Summaries): ServedEndpoints[] {
  const own = [...told].flatMap(([key, body]) => {
    const item = parseReportKey(key)
    if (item?.kind !== 'summary' || item.service === undefined) return []
    return rowsOf(cluster, item.service, serviceSummarySchema.parse(body).counts)
  })
  const others = [...heard.services].flatMap(([source, services]) =>
    source === cluster
      ? []
      : [...services].flatMap(([service, { counts }]) => rowsOf(source, service as ServiceKey, counts)),
  )
  return [...own, ...others].toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
}

const rowsOf = (cluster: string, service: ServiceKey, counts: readonly PortCount[]): ServedEndpoints[] =>
  counts.map((count) => ({
    id: `${service}/${cluster}/${count.port}/${count.region}/${count.zone}`,
    ...{ ...partsOf(service), cluster, ...count },
  }))

/** The config from the centre that is in force here, as the API shows one; without entries until the first is there. */
export function servedConfig({ home, config }: View, revision: number | undefined): object {
  if (!config || revision === undefined) return { cluster: home.cluster }
  const entries = entriesOf(config)
  return {
    id: `${home.cluster}@${revision}`,
    ...{ cluster: home.cluster, revision, hash: clusterConfigHash(entries), entries: Object.fromEntries(entries) },
  }
}
