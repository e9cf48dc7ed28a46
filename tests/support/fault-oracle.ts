import { join } from 'node:path'
import type { Received } from '#gateway/uplink/received.ts'
import { replayLog } from '#gateway/uplink/received-log.ts'
import { reportOf } from '#gateway/uplink/report.ts'
import { loadReceived } from '#gateway/uplink/state-file.ts'
import { directoryWatch } from '#gateway/watch/directory-watch.ts'
import { compile } from '#mesh/compile/compile.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import {
  parseClusterId,
  parseClusterName,
  parseMeshName,
  parseNetworkName,
  type ServiceKey,
  trustDomainOf,
} from '#mesh/model/id.ts'
import type { Home } from '#mesh/model/view.ts'
import { entriesOf } from '#mesh/wire/cluster-config.ts'
import { exportSchema, parseReportKey, reportKeys } from '#mesh/wire/report.ts'
import { cfgStream, sourceOf } from '#mesh/wire/stream.ts'
import type { FaultCluster } from '#tests/support/fault-fleet.ts'

/** What one relay must hold, or holds: entries of its config, and bodies by `<source> <service>`. Sorted text. */
export type Holding = { readonly config: readonly string[]; readonly summaries: readonly string[] }

const mesh = parseMeshName('mesh1')

/** What the manifests of all clusters come to, without any centre: each is read anew and the fleet is compiled. */
export async function oracleOf(clusters: readonly FaultCluster[]): Promise<ReadonlyMap<string, Holding>> {
  const reports = new Map<string, ReadonlyMap<string, Json>>()
  for (const cluster of clusters) reports.set(cluster.name, await readReport(cluster))
  const members = [...reports].map(([name, items]) => memberFrom(name, items))
  const fleet: Fleet = { mesh, roots: [], members, narrowings: [] }
  return new Map(
    [...compile(fleet)].map(([name, config]): [string, Holding] => [
      name,
      { config: linesOf(entriesOf(config)), summaries: summariesFor(name, reports) },
    ]),
  )
}

/** What a relay has on disk, where everything is before it is served. */
export function holdingOf({ name, stateDir }: FaultCluster): Holding {
  const path = join(stateDir, 'received.json')
  const { received } = replayLog(`${path}.log`, loadReceived(path).received)
  const seen = [...received].flatMap(([stream, { items }]) => {
    const source = sourceOf(stream)
    if (source === undefined) return []
    return [...items].filter(([key]) => key !== 'gateways').map(([key, v]) => `${source} ${key} ${textOf(v)}`)
  })
  return { config: linesOf(configIn(received, name)), summaries: seen.toSorted() }
}

const configIn = (received: Received, name: string): ReadonlyMap<string, Json> =>
  received.get(cfgStream(name))?.items ?? new Map()

/** Roots come from the centre's own key, which the oracle does not have. */
const linesOf = (entries: ReadonlyMap<string, Json>): string[] =>
  [...entries]
    .map(([key, body]) => `${key} ${textOf(key === 'trust' ? { ...(body as object), roots: [] } : body)}`)
    .toSorted()

/** Since when the centre has known of something, only the centre knows. */
const textOf = (body: Json): string =>
  canonicalJson(JSON.parse(JSON.stringify(body, (key, value: unknown) => (key === 'since' ? undefined : value))))

async function readReport({ name, manifests }: FaultCluster): Promise<ReadonlyMap<string, Json>> {
  const home = homeOf(name)
  const watch = directoryWatch({ dir: manifests, home, settleMs: 0 })
  await watch.start()
  const { items } = reportOf({ own: watch.current(), home, relayVersion: '0.1.0', flat: false })
  await watch.stop()
  return items
}

const homeOf = (name: string): Home => ({
  ...{ mesh, cluster: parseClusterName(name), network: parseNetworkName(`net-${name}`), region: 'eu-1' },
  trustDomain: trustDomainOf(parseClusterName(name), mesh, 1),
  gateways: [],
})

function memberFrom(name: string, items: ReadonlyMap<string, Json>): Member {
  const exports = new Map<ServiceKey, ServiceExport>()
  for (const [key, body] of items) {
    const { kind, service } = parseReportKey(key) ?? {}
    if (kind !== 'export' || service === undefined) continue
    const { consumers, ...rest } = exportSchema.parse(body)
    const named = consumers === undefined ? {} : { consumers: consumers.map(parseClusterName) }
    exports.set(service as ServiceKey, { key: service as ServiceKey, ...rest, ...named })
  }
  const { cluster, network, region, trustDomain } = homeOf(name)
  const id = parseClusterId('00000000-0000-7000-8000-000000000000')
  return { id, name: cluster, network, region, trustDomain, exports, refused: new Set() }
}

/** Summaries of all others whose export names this cluster, or nobody in particular. */
function summariesFor(reader: string, reports: ReadonlyMap<string, ReadonlyMap<string, Json>>): string[] {
  return [...reports]
    .flatMap(([source, items]) =>
      [...items].flatMap(([key, body]) => {
        const { kind, service } = parseReportKey(key) ?? {}
        if (source === reader || kind !== 'export' || service === undefined) return []
        const { consumers } = exportSchema.parse(body)
        if (consumers && !consumers.includes(reader)) return []
        return [`${source} ${service} ${textOf(items.get(reportKeys.summary(service)) ?? null)}`]
      }),
    )
    .toSorted()
}
