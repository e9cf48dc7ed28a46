import type { Centre } from '#control/centre.ts'
import { loadFleet, type ReportMemo } from '#control/load-fleet.ts'
import { parseReport, type Report } from '#control/parse-report.ts'
import { loadAudiences } from '#control/store/audiences.ts'
import type { ClusterRow } from '#control/store/clusters.ts'
import { loadLastCompiled } from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import { loadLoad, type StoredLoad } from '#control/store/loads.ts'
import { loadItems, loadLive, loadStreams } from '#control/store/streams.ts'
import { loadBundle } from '#control/trust/bundle.ts'
import { loadRelayTrust } from '#control/trust/facts.ts'
import { answersIn } from '#mesh/foresee/answers.ts'
import type { Seen } from '#mesh/foresee/seen.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import { type ClusterName, parseClusterName, type ServiceKey } from '#mesh/model/id.ts'
import { loadFreshMs, measuredWindow } from '#mesh/model/load.ts'
import type { Summaries } from '#mesh/model/summary.ts'
import { type Admitted, type Advice, noAdvice, type Traffic } from '#mesh/model/traffic.ts'
import type { Home, OwnCluster } from '#mesh/model/view.ts'
import { trafficOf } from '#mesh/policy/admissions.ts'
import { nothingJudged } from '#mesh/policy/judge-health.ts'
import { parseAdvice } from '#mesh/wire/advice.ts'
import { parseClusterConfig } from '#mesh/wire/cluster-config.ts'
import { adviceStream, everybody, reportStream, type StreamName } from '#mesh/wire/stream.ts'
import { gatewaysKey, parseSummaries } from '#mesh/wire/summaries.ts'

/**
 * What the centre knows of the calls of one member to one service: the config that it compiled last, the summaries that
 * the member may read, advice, trust, and the whole fleet beside. What only relays see (probes, proxies, pods) is absent.
 */
export async function centreSeen(
  centre: Centre,
  tx: Tx,
  { row, key, memo }: { readonly row: ClusterRow; readonly key: ServiceKey | undefined; readonly memo: ReportMemo },
): Promise<Seen> {
  const { mesh } = centre
  const fleet = await loadFleet(tx, mesh, memo)
  const last = await loadLastCompiled(tx, mesh, row.name)
  const config = last && parseClusterConfig(new Map(Object.entries(JSON.parse(last.body) as Record<string, Json>)))
  const report = parseReport(await loadLive(tx, { mesh, stream: reportStream(row.name) }))
  const home = homeOf(fleet, row, report)
  const summaries = await heardBy(tx, fleet, { row, keys: [gatewaysKey, ...(key === undefined ? [] : [key])] })
  const advice = await adviceNow(tx, mesh)
  const load = fresh(await loadLoad(tx, mesh, home.cluster), centre.now())
  const advised = trafficOf({
    ...{ home: home.cluster, config, gateways: summaries.gateways, judged: nothingJudged(0), now: 0 },
    ...{ advice, lost: new Set<ClusterName>(), caps: new Map(), peaks: new Map() },
  })
  const traffic = withVerdicts(advised, load)
  const window = load && measuredWindow(load, centre.now())
  const answers = window && key !== undefined ? answersIn(window, key) : undefined
  const bundle = (await loadBundle(tx, mesh))?.bundle
  const member = fleet.members.find(({ name }) => name === home.cluster)
  const own = ownOf(home, member, { report, key })
  return {
    view: {
      ...{ home, own, summaries },
      ...(config ? { config } : {}),
      ...(bundle ? { bundle } : {}),
      ...(traffic ? { traffic } : {}),
    },
    ...{ now: centre.now(), fleet, issuingEnds: await issuingEnds(tx, centre) },
    ...(last ? { revision: last.revision } : {}),
    ...(advice.frozen ? { frozen: advice.frozen } : {}),
    ...(answers ? { answers } : {}),
  }
}

const fresh = (stored: StoredLoad | undefined, now: number): StoredLoad['load'] | undefined =>
  stored && now - stored.takenAt < loadFreshMs ? stored.load : undefined

/** With how the caller's relay told that other clusters stand with it. */
function withVerdicts(traffic: Traffic | undefined, load: StoredLoad['load'] | undefined): Traffic | undefined {
  const told = (load?.health ?? []).filter(({ percent }) => percent < 100)
  if (told.length === 0) return traffic
  const clusters = new Map(traffic?.clusters)
  for (const { cluster, phase, percent } of told) {
    const why: Admitted['why'] = phase === 'returned' ? 'returning' : 'dead'
    if (percent < (clusters.get(cluster)?.percent ?? 100)) clusters.set(cluster, { cluster, percent, why })
  }
  return { ...(traffic ?? nothingMoves), clusters }
}

const nothingMoves: Traffic = {
  ...{ gatewaysDown: new Map(), gatewaysDraining: new Map(), clusters: new Map(), services: new Map() },
  ...{ peaks: new Map(), closing: new Set<ServiceKey>() },
}

function homeOf(fleet: Fleet, row: ClusterRow, { gateways }: Report): Home {
  const cluster = parseClusterName(row.name)
  const { network, region, trustDomain } = fleet.members.find(({ name }) => name === cluster) ?? {}
  if (network === undefined || region === undefined || trustDomain === undefined)
    throw new Error(`${cluster} left while it was looked at`)
  return { mesh: fleet.mesh, cluster, network, region, trustDomain, gateways }
}

/** What the member may read of others, of these keys alone. */
async function heardBy(
  tx: Tx,
  { mesh }: Fleet,
  { row, keys }: { readonly row: ClusterRow; readonly keys: readonly string[] },
): Promise<Summaries> {
  const streams = (await loadStreams(tx, mesh, ['ep'])).filter(({ source }) => source !== row.name)
  const named = streams.flatMap(({ audience }) => (audience === everybody ? [] : [audience]))
  const readers = await loadAudiences(tx, mesh, named)
  const heard: (readonly [StreamName, ReadonlyMap<string, Json>])[] = []
  for (const { stream, audience } of streams) {
    if (audience !== everybody && !readers.get(audience)?.has(row.name)) continue
    const rows = (await loadItems(tx, { mesh, stream }, keys)).filter(({ gone, body }) => !gone && body !== '')
    heard.push([stream, new Map(rows.map((item) => [item.key, JSON.parse(item.body) as Json]))])
  }
  return parseSummaries(heard).summaries
}

async function adviceNow(tx: Tx, mesh: Fleet['mesh']): Promise<Advice> {
  const rows = await loadLive(tx, { mesh, stream: adviceStream(mesh) })
  if (rows.length === 0) return noAdvice
  return parseAdvice(new Map(rows.map(({ key, body }) => [key, JSON.parse(body) as Json]))).advice
}

/** By what relays say of the issuing CA that they hold. */
async function issuingEnds(tx: Tx, centre: Centre): Promise<ReadonlyMap<ClusterName, number>> {
  const all = await loadRelayTrust(tx, centre.mesh, centre.now())
  return new Map(
    all.flatMap(({ cluster, said }): [ClusterName, number][] =>
      said?.issuing ? [[parseClusterName(cluster), said.issuing.notAfter]] : [],
    ),
  )
}

/** What it reports of itself: its exports. Its other Services and its pods are not known here. */
function ownOf(
  home: Home,
  member: Member | undefined,
  { report, key }: { readonly report: Report; readonly key: ServiceKey | undefined },
): OwnCluster {
  const exports = [...(member?.exports.values() ?? [])]
  return {
    services: new Map(
      exports.map(({ key: of, ports, headless }) => [
        of,
        { key: of, ports, headless, clusterIps: [], origin: 'report' },
      ]),
    ),
    endpoints: new Map(key === undefined ? [] : [[key, countedPods(home, report, key)]]),
    pods: new Map(),
    exports: new Map(
      exports.map(({ key: of, createdAt, perCluster }) => [
        of,
        { key: of, createdAt, origin: 'report', ...(perCluster ? { perCluster } : {}) },
      ]),
    ),
    refused: report.refused,
    peerAuthentications: [],
  }
}

const podsMax = 5000

/** As many pods as it counts, at addresses that nobody dials: only how many there are, and are ready, is known. */
function countedPods({ network }: Home, { summaries, exports }: Report, key: ServiceKey): readonly Endpoint[] {
  const names = new Map(exports.get(key)?.ports.map(({ port, name }) => [port, name]))
  const counts = summaries.get(key)?.counts ?? []
  return counts.flatMap(({ port, region, zone, ready, total }, row) =>
    Array.from(
      { length: Math.min(total, podsMax) },
      (_, at): Endpoint => ({
        address: `2001:db8::${row.toString(16)}:${at.toString(16)}`,
        ports: { [names.get(port) ?? '']: port },
        health: at < ready ? 'ready' : 'not-ready',
        ...{ locality: { region, zone }, network, pod: '', serviceAccount: '', meshed: true },
      }),
    ),
  )
}
