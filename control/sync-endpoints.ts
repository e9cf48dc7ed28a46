import { firstHeard } from '#control/first-heard.ts'
import { refuseHeldGateways } from '#control/held-gateways.ts'
import { refuseHeldNetwork } from '#control/held-network.ts'
import { projectCluster, type Scope, withReaders } from '#control/project-cluster.ts'
import { countedServices, projectSummaries } from '#control/project-summaries.ts'
import { checkReportBounds, type ReportBounds } from '#control/report-bounds.ts'
import { type CheckedItem, checkItem } from '#control/report-item.ts'
import { updateCluster } from '#control/store/clusters.ts'
import { type Database, LostRace, type Tx } from '#control/store/database.ts'
import { saveExportAges } from '#control/store/export-ages.ts'
import { gathered } from '#control/store/gathered.ts'
import { appendOutbox } from '#control/store/outbox.ts'
import { loadReportState, type ReportState } from '#control/store/report-state.ts'
import { saveFacts } from '#control/store/reported-facts.ts'
import type { ClusterRow } from '#control/store/schema/cluster.ts'
import { saveSighting } from '#control/store/sightings.ts'
import { lockStream, markNamed, type Write, writeItems } from '#control/store/stream-writes.ts'
import { type ItemRow, liveKeys, loadItems, loadStreams, type StreamRow } from '#control/store/streams.ts'
import type { StreamChange } from '#control/stream-change.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { clusterFactsSchema, parseReportKey, type ReportItem, reportKeys } from '#mesh/wire/report.ts'
import { reportStream } from '#mesh/wire/stream.ts'
import { epochAheadMs, isEpoch, type SyncAnswer, type SyncRequest } from '#mesh/wire/sync.ts'
import { checkVersion, meshSyncText } from '#mesh/wire/version.ts'

export type SyncResult = {
  /** Without heads: the door adds `headsFor` the cluster, outside of this transaction. */
  readonly answer: SyncAnswer
  /** Revisions of the cluster's `ep` streams, for hints; after a repeated batch all their heads, without deltas. */
  readonly changed: readonly StreamChange[]
  /** True where configs must be compiled anew: the outbox has a row, and `publish` may be woken at once. */
  readonly factsChanged: boolean
}

export type Moment = {
  /** Unix ms. */
  readonly now: number
  /** Makes a UUIDv7. */
  readonly newId: () => string
  /** For tests: how much one cluster may report. */
  readonly bounds?: ReportBounds
}

const minIntervalMs = 200
const sightingMsMin = 60_000

/**
 * Takes in one batch of a cluster's report. In one transaction, perhaps with other clusters' batches, it stores the items
 * in stream `rep/<cluster>`, projects the services they concern to the streams that others read, and leaves an outbox row
 * where facts of the config changed.
 * Everything is attributed to the authenticated `caller`; nothing in the batch can say otherwise.
 *
 * An item that makes no sense is refused by key, what was known of it stays, and the rest goes on. The same (epoch, seq)
 * again changes nothing and answers as the first time. Throws `conflict` with `extra.needSeq` after a gap, and with
 * `extra.epochBehind` and the current `extra.epoch` for a batch of an epoch that another has replaced, with
 * `extra.epochAheadMs` for one of an epoch ahead of the centre's clock; `forbidden` when
 * the cluster is no member any more; `too-many` past `reportBounds`.
 */
export async function syncEndpoints(
  database: Database,
  caller: Pick<ClusterRow, 'mesh' | 'id' | 'name'>,
  request: SyncRequest,
  moment: Moment,
): Promise<SyncResult> {
  checkVersion(request.proto, 'relay')
  const said = request.items.map(({ k, v }) => checkItem(k, v, request.epoch))
  const keys = said.flatMap(({ write, unkept }) => (unkept ? [] : [write.key]))
  const services = countedServices(said.map(({ write }) => write))
  const share = { key: `${caller.mesh} ${caller.name}`, rows: request.items.length }
  return gathered(database)(share, async (tx) => {
    const state = await loadReportState(tx, caller, { keys, services, now: moment.now })
    const { cluster } = state
    if (cluster?.state !== 'joined')
      throw new Problem('forbidden', 'this cluster is not a member of the mesh: join it again with a new token')
    const rep =
      state.rep ?? (await lockStream(tx, { mesh: caller.mesh, stream: reportStream(caller.name) }, moment.now))
    const place = placeOf(rep, request, moment.now)
    const placed = await refuseHeldNetwork(tx, cluster, said, moment.now)
    const checked = await refuseHeldGateways(tx, cluster, placed)
    if (place === 'again') return repeated(tx, cluster, rep, { request, checked, now: moment.now })
    const batch: Batch = { request, checked, ...moment }
    const counted = state.rep && (await storeCounts(tx, cluster, { ...state, rep }, batch))
    if (counted) return counted
    const items = state.rep && state.items ? state.items : await loadItems(tx, rep, keys)
    return storeReport(tx, cluster, rep, { ...batch, before: new Map(items.map((item) => [item.key, item])) })
  })
}

/**
 * The short way for new counts, in one more flight: undefined, and nothing written, where `storeReport` has to look
 * closer. In the middle of an epoch's first report it always has.
 */
async function storeCounts(
  tx: Tx,
  cluster: ClusterRow,
  { rep, reported, told }: Pick<ReportState, 'reported' | 'told'> & { readonly rep: StreamRow },
  { request, checked, now, bounds }: Batch,
): Promise<SyncResult | undefined> {
  const goesOn = rep.complete && rep.srcEpoch === request.epoch && request.complete !== true
  const writes = checked.map(({ write }) => write)
  const projected = goesOn && told ? projectSummaries(told, writes) : undefined
  if (!told || !projected) return undefined
  const set = { srcEpoch: request.epoch, srcSeq: request.seq, complete: true }
  const [{ stream, grew }, { delta }] = await Promise.all([
    writeItems(tx, rep, writes, { now, set, before: reported }),
    writeItems(tx, projected.stream, projected.writes, { now, before: told.items }),
    noteSighting(tx, cluster, now),
  ])
  await checkReportBounds(tx, rep, { grew, writes }, bounds)
  const changed = delta ? [{ stream: delta.stream, epoch: delta.epoch, rev: delta.to, delta }] : []
  return { answer: answerOf(stream, request, checked, now), changed, factsChanged: false }
}

async function storeReport(tx: Tx, cluster: ClusterRow, rep: StreamRow, batch: Met): Promise<SyncResult> {
  const { request, checked, now } = batch
  const { stream, changed } = await store(tx, rep, batch)
  const current = await storeFacts(tx, cluster, changed, { now, stream })
  const keys = changed.map((write) => write.key)
  const scope = scopeOf(keys, current.network !== cluster.network)
  const changes = scope ? await projectCluster(tx, current, scope, now) : []
  const factsChanged = keys.some((key) => isFact(parseReportKey(key)?.kind))
  if (factsChanged) {
    const body = canonicalJson({ cause: `report of ${cluster.name}` })
    await appendOutbox(tx, { mesh: cluster.mesh, id: batch.newId(), kind: 'publish', body, at: now })
  }
  return { answer: answerOf(stream, request, checked, now), changed: changes, factsChanged }
}

/**
 * Whether the batch is next, or was taken in before. Epochs are compared as text: later ones sort after earlier ones, so
 * that a late batch of a replaced epoch cannot bring it back. One that began in the future would shut out all that follow
 * until then: it is refused, and where the store has one (its clock was wrong once), it counts for nothing.
 */
function placeOf(rep: StreamRow, { epoch, seq }: SyncRequest, now: number): 'next' | 'again' {
  const current = isEpoch(rep.srcEpoch) && epochAheadMs(rep.srcEpoch, now) === undefined ? rep.srcEpoch : ''
  const aheadMs = epochAheadMs(epoch, now)
  if (aheadMs !== undefined) throw ahead({ epoch, current, now, aheadMs })
  if (epoch < current)
    throw new Problem('conflict', `epoch ${epoch} was replaced by ${current}: report everything in a newer one`, {
      extra: { epochBehind: true, epoch: current },
    })
  const last = epoch === current ? rep.srcSeq : 0
  if (seq <= last) return 'again'
  if (seq === last + 1) return 'next'
  throw new Problem(
    'conflict',
    `batch ${seq} of epoch ${epoch} came and ${last + 1} is missing: send it, or begin anew`,
    {
      extra: { needSeq: last + 1, epoch: current },
    },
  )
}

type Ahead = { readonly epoch: string; readonly current: string; readonly now: number; readonly aheadMs: number }

const ahead = ({ epoch, current, now, aheadMs }: Ahead): Problem =>
  new Problem(
    'conflict',
    `epoch ${epoch} begins ${Math.round(aheadMs / 1000)} s ahead of the centre's clock (${new Date(now).toISOString()}): ` +
      "set the clock of the relay's machine (NTP), and report everything in a new epoch",
    { extra: { epochAheadMs: aheadMs, time: now, needSeq: 1, epoch: current } },
  )

type Batch = Moment & {
  readonly request: SyncRequest
  readonly checked: readonly CheckedItem[]
}

/** With what is stored under its keys. */
type Met = Batch & { readonly before: ReadonlyMap<string, ItemRow> }

/** Stores the batch as one revision. The last batch of an epoch's first report takes away what the epoch did not name. */
async function store(
  tx: Tx,
  rep: StreamRow,
  { request, checked, before, now, bounds }: Met,
): Promise<{ readonly stream: StreamRow; readonly changed: readonly Write[] }> {
  const { epoch: srcEpoch, seq: srcSeq } = request
  const complete = request.complete === true || (rep.srcEpoch === srcEpoch && rep.complete)
  const said = checked.flatMap(({ write, unkept }) => (unkept ? [] : [write]))
  const writes = said.map((write) => {
    const old = before.get(write.key)?.body ?? ''
    return isRefused(write) ? { ...write, body: old } : firstHeard(write, old, now)
  })
  const named = writes.map((write) => write.key)
  const dropped: Write[] = []
  if (request.complete === true) {
    const present = new Set(named)
    for (const key of await liveKeys(tx, rep, srcEpoch))
      if (!present.has(key)) dropped.push({ key, hash: '', body: '', srcEpoch })
  }
  const all = [...writes, ...dropped]
  const known = dropped.length === 0 ? { before: [...before.values()] } : {}
  const written = await writeItems(tx, rep, all, { now, set: { srcEpoch, srcSeq, complete }, ...known })
  const { stream, grew } = written
  await checkReportBounds(tx, rep, { grew, writes: all }, bounds)
  const latest = new Map(all.map((write) => [write.key, write]))
  const changed = written.changed.flatMap((key) => latest.get(key) ?? [])
  const facts = changed.filter((write) => isFact(parseReportKey(write.key)?.kind))
  const of = { mesh: rep.mesh, cluster: rep.source }
  await saveFacts(tx, of, facts)
  await saveExportAges(tx, of, { ...exportsThat(facts, before), now })
  if (!rep.complete || rep.srcEpoch !== srcEpoch) await markNamed(tx, rep, named, srcEpoch)
  return { stream, changed }
}

/** A refused item takes over the new hash, for the root, and keeps the body that was good. Unknown is not empty. */
const isRefused = ({ hash, body }: Write): boolean => hash !== '' && body === ''

/** Exports that were not there and are now, and those that are withdrawn. */
function exportsThat(facts: readonly Write[], before: ReadonlyMap<string, ItemRow>) {
  const made = facts.filter(({ key, body }) => body !== '' && !before.get(key)?.body)
  return { made: servicesOf(made), gone: servicesOf(facts.filter(({ hash }) => hash === '')) }
}

const servicesOf = (writes: readonly Write[]): ServiceKey[] =>
  writes.map(({ key }) => parseReportKey(key)).flatMap((item) => (item?.kind === 'export' && item.service) || [])

/** Takes over what the cluster says of itself, and now and then that it was heard. */
async function storeFacts(
  tx: Tx,
  cluster: ClusterRow,
  changed: readonly Write[],
  { now, stream }: { readonly now: number; readonly stream: StreamRow },
): Promise<ClusterRow> {
  const isSaid = changed.some(({ key }) => key === reportKeys.cluster)
  const [item] = isSaid ? await loadItems(tx, stream, [reportKeys.cluster]) : []
  if (item && item.body !== '') {
    const said = clusterFactsSchema.parse(JSON.parse(item.body))
    const updated = await updateCluster(tx, cluster, { ...said, lastSeenAt: now })
    if (!updated) throw new LostRace(`cluster ${cluster.name} moved on`)
    return updated
  }
  await noteSighting(tx, cluster, now)
  return cluster
}

async function noteSighting(tx: Tx, cluster: ClusterRow, now: number): Promise<void> {
  if (now - (cluster.lastSeenAt ?? 0) >= sightingMsMin) await saveSighting(tx, cluster, now)
}

const isFact = (kind: ReportItem['kind'] | undefined): boolean => kind !== undefined && facts.has(kind)

/** Kinds that configs are compiled from. */
const facts: ReadonlySet<ReportItem['kind']> = new Set(['cluster', 'export', 'refuse', 'policy', 'group', 'unread'])

function scopeOf(changed: readonly string[], moved: boolean): Scope | undefined {
  if (moved) return 'all'
  const items = changed.map(parseReportKey)
  const services = new Set<ServiceKey>()
  for (const item of items) if (item?.service !== undefined && item.kind !== 'refuse') services.add(item.service)
  const gateways = items.some((item) => item?.kind === 'gateways')
  return services.size > 0 || gateways ? { services: [...services], gateways } : undefined
}

/** The hint goes out again too: the first may have been lost with the process that was to send it. */
async function repeated(
  tx: Tx,
  cluster: ClusterRow,
  rep: StreamRow,
  { request, checked, now }: Pick<Batch, 'request' | 'checked' | 'now'>,
): Promise<SyncResult> {
  const rows = await loadStreams(tx, cluster.mesh, ['ep'], cluster.name)
  const heads = rows.map(({ stream, epoch, head }) => ({ stream, epoch, rev: head }))
  const changed = await withReaders(tx, cluster.mesh, heads)
  return { answer: answerOf(rep, request, checked, now), changed, factsChanged: false }
}

function answerOf(stream: StreamRow, request: SyncRequest, checked: readonly CheckedItem[], now: number): SyncAnswer {
  const rejected = checked.flatMap(({ write, reason }) => (reason === undefined ? [] : [{ key: write.key, reason }]))
  // While an epoch's first report is under way the store still holds what the epoch before had said.
  const differs = stream.complete && stream.srcSeq === request.seq && stream.root !== request.root
  return {
    appliedSeq: stream.srcSeq,
    minIntervalMs,
    proto: meshSyncText,
    time: now,
    ...(differs ? { resync: true } : {}),
    ...(rejected.length > 0 ? { rejected } : {}),
  }
}
