import { type Audience, audiencesOf, bodyFor, type Neighbourhood } from '#control/ep-streams.ts'
import { loadAllNarrowings, loadPolicySet, narrowingFrom } from '#control/load-fleet.ts'
import { parseReport } from '#control/parse-report.ts'
import { loadAudiences, saveAudience } from '#control/store/audiences.ts'
import { loadCluster, loadClusters, loadMembers } from '#control/store/clusters.ts'
import type { Database, Tx } from '#control/store/database.ts'
import type { ClusterRow } from '#control/store/schema/cluster.ts'
import { lockStream, toWrite, type Write, writeItems } from '#control/store/stream-writes.ts'
import { hasOthers, type ItemRow, loadItems, loadLive, loadPlaced, loadStreams } from '#control/store/streams.ts'
import type { StreamChange } from '#control/stream-change.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { type ClusterName, type MeshName, type NetworkName, parseMeshName, type ServiceKey } from '#mesh/model/id.ts'
import { groupsOf } from '#mesh/policy/tiers-of-policy.ts'
import { reportKeys } from '#mesh/wire/report.ts'
import { epStream, everybody, reportStream, sourceOf } from '#mesh/wire/stream.ts'
import { gatewaysKey } from '#mesh/wire/summaries.ts'

/** What to project anew: everything a cluster has reported, or some of its services (and whether its gateways too). */
export type Scope = 'all' | { readonly services: readonly ServiceKey[]; readonly gateways: boolean }

/**
 * Brings the `ep` streams of one cluster to what it reports and who may read it. A summary is given only where its
 * service is exported and both are known; when its readers change it goes from the old audience's stream and comes into
 * the new one's, in one transaction. Every stream that holds a service also holds the item `gateways`.
 *
 * What this version cannot read of the report (a summary, the gateways) is not taken for gone: it stays with those who
 * may still read it, as it was given last.
 *
 * The caller holds the lock of `rep/<cluster>`, so that reports and policy never overtake each other: who comes second
 * reads what the first has committed. Gives back the revisions made.
 */
export async function projectCluster(tx: Tx, cluster: ClusterRow, scope: Scope, now: number): Promise<StreamChange[]> {
  const mesh = parseMeshName(cluster.mesh)
  const names = (await loadStreams(tx, mesh, ['ep'], cluster.name)).map((row) => row.stream)
  const reported = cluster.state === 'joined' ? await loadReported(tx, cluster, scope) : new Map<string, ItemRow>()
  const wanted = wantedOf(reported, await loadNeighbourhood(tx, mesh, cluster), cluster.name)
  const services = scope === 'all' ? undefined : scope.services
  const placed = (await loadPlaced(tx, mesh, names, services)).filter((item) => item.key !== gatewaysKey)

  const writes = new Map<string, Map<string, Write>>(scope === 'all' || scope.gateways ? names.map(emptyEntry) : [])
  const writesOf = (stream: string) => {
    const known = writes.get(stream) ?? new Map<string, Write>()
    writes.set(stream, known)
    return known
  }
  const kept = new Set<string>()
  for (const { stream, key } of placed)
    if (wanted.unread.has(placeOf(stream, key))) kept.add(stream)
    else writesOf(stream).set(key, { key, hash: '', body: '' })
  for (const { stream, key, body } of wanted.items) writesOf(stream).set(key, toWrite({ key, body }))

  const gateways = gatewaysIn(reported)
  const changes: StreamChange[] = []
  for (const stream of [...writes.keys()].toSorted()) {
    const list = [...writesOf(stream).values()]
    const besides = [gatewaysKey, ...list.map((write) => write.key)]
    const holdsService =
      kept.has(stream) ||
      list.some((write) => write.hash !== '') ||
      (scope !== 'all' && names.includes(stream) && (await hasOthers(tx, { mesh, stream }, besides)))
    const roads =
      gateways === 'unread' && holdsService
        ? []
        : [toWrite({ key: gatewaysKey, body: holdsService ? gateways : undefined })]
    const row = await lockStream(tx, { mesh, stream }, now)
    const { name, members } = wanted.audiences.get(row.audience) ?? {}
    if (row.head === 0 && name !== undefined && members) await saveAudience(tx, { mesh, name, members }, now)
    const { delta } = await writeItems(tx, row, [...list, ...roads], { now })
    if (delta) changes.push({ stream, epoch: delta.epoch, rev: delta.to, delta })
  }
  return withReaders(tx, mesh, changes)
}

/**
 * Projects every cluster of a mesh, each in a transaction of its own: after a member came or went, moved to another
 * network, or the operator's policy changed. Safe to run at any time and as often as one likes.
 */
export async function projectMesh(database: Database, mesh: MeshName, now: number): Promise<StreamChange[]> {
  const changes: StreamChange[] = []
  for (let after = ''; ; ) {
    const page = await database.read((tx) => loadClusters(tx, mesh, after, 100))
    for (const { id, name, state } of page)
      if (state !== 'expected')
        changes.push(
          ...(await database.transact(async (tx) => {
            await lockStream(tx, { mesh, stream: reportStream(name) }, now)
            const cluster = await loadCluster(tx, mesh, id)
            return cluster ? projectCluster(tx, cluster, 'all', now) : []
          })),
        )
    const last = page.at(-1)
    if (!last) return changes
    after = last.name
  }
}

/** Adds to each change of an `ep` stream who reads it. An audience that is not known is read by nobody. */
export async function withReaders(tx: Tx, mesh: string, changes: readonly StreamChange[]): Promise<StreamChange[]> {
  const audienceIn = (stream: string) => (sourceOf(stream) === undefined ? everybody : (stream.split('/')[2] ?? ''))
  const named = changes.map((change) => audienceIn(change.stream)).filter((name) => name !== everybody)
  const known = await loadAudiences(tx, mesh, named)
  return changes.map((change) => {
    const audience = audienceIn(change.stream)
    return audience === everybody ? change : { ...change, readers: known.get(audience) ?? new Set<string>() }
  })
}

/** The body of the item `gateways`; undefined where the cluster reports none. */
function gatewaysIn(reported: ReadonlyMap<string, ItemRow>): Json | undefined | 'unread' {
  const row = reported.get(reportKeys.gateways)
  if (!row) return undefined
  return parseReport([row], ['gateways']).setAside.length > 0 ? 'unread' : (JSON.parse(row.body) as Json)
}

const placeOf = (stream: string, key: string): string => `${stream} ${key}`

const emptyEntry = (stream: string): [string, Map<string, Write>] => [stream, new Map()]

async function loadReported(tx: Tx, { mesh, name }: ClusterRow, scope: Scope): Promise<Map<string, ItemRow>> {
  const ref = { mesh, stream: reportStream(name) }
  const keys = (service: ServiceKey) => [reportKeys.export(service), reportKeys.summary(service)]
  const rows =
    scope === 'all'
      ? await loadLive(tx, ref)
      : await loadItems(tx, ref, [reportKeys.gateways, ...scope.services.flatMap(keys)])
  return new Map(rows.filter((row) => !row.gone && row.body !== '').map((row) => [row.key, row]))
}

async function loadNeighbourhood(tx: Tx, mesh: MeshName, cluster: ClusterRow): Promise<Neighbourhood> {
  const narrowings = (await loadAllNarrowings(tx, mesh)).map(narrowingFrom)
  const members = (await loadMembers(tx, mesh)).map(parseMember)
  const groups = groupsOf((await loadPolicySet(tx, mesh)).groups)
  return { source: parseMember(cluster), members, narrowings, groups }
}

/** Stored names were checked when they came in. */
const parseMember = (row: ClusterRow): Neighbourhood['source'] => ({
  name: row.name as ClusterName,
  network: row.network as NetworkName,
})

/** Which items the streams of a cluster are to hold. */
function wantedOf(
  reported: ReadonlyMap<string, ItemRow>,
  neighbourhood: Neighbourhood,
  source: string,
): {
  readonly items: { readonly stream: string; readonly key: ServiceKey; readonly body: Json }[]
  readonly audiences: ReadonlyMap<string, Audience>
  /** Where a service would be whose summary is there and cannot be read. */
  readonly unread: ReadonlySet<string>
} {
  const items: { stream: string; key: ServiceKey; body: Json }[] = []
  const audiences = new Map<string, Audience>()
  const unread = new Set<string>()
  const { exports, summaries, setAside } = parseReport([...reported.values()], ['export', 'summary'])
  const odd = new Set(setAside.map((one) => one.key))
  for (const [key, offered] of exports) {
    const summary = summaries.get(key)
    if (!summary && !odd.has(reportKeys.summary(key))) continue
    for (const audience of audiencesOf(offered, neighbourhood)) {
      audiences.set(audience.name, audience)
      const stream = epStream(source, audience.name)
      if (summary) items.push({ stream, key, body: bodyFor(audience, summary) })
      else unread.add(placeOf(stream, key))
    }
  }
  return { items, audiences, unread }
}
