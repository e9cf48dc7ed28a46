import { and, eq } from 'drizzle-orm'
import type { ClusterRow } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { fixedStatement, given, rowParser } from '#control/store/fixed-statement.ts'
import { clusters } from '#control/store/schema/cluster.ts'
import { outbox } from '#control/store/schema/outbox.ts'
import { streams } from '#control/store/schema/stream.ts'
import { holdStream } from '#control/store/stream-writes.ts'
import { type ItemHash, type ItemRow, loadHashes, loadItems, type StreamRow } from '#control/store/streams.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { epStream, everybody, reportStream } from '#mesh/wire/stream.ts'

/** What a batch of a report meets. */
export type ReportState = {
  readonly cluster: ClusterRow | undefined
  /** The stream of its reports, locked; undefined before its first. */
  readonly rep: StreamRow | undefined
  /** Of that stream, the items of the batch's keys: without what they say where services were asked for. */
  readonly reported: readonly ItemHash[]
  readonly items: readonly ItemRow[] | undefined
  /** What everybody is told of the services asked for; undefined where none was. */
  readonly told: Told | undefined
}

export type Told = {
  readonly stream: StreamRow | undefined
  readonly items: readonly ItemHash[]
  /** The outbox has work. */
  readonly asked: boolean
}

/**
 * Locks the stream of a cluster's reports and reads what the batch needs, in one flight: what is read after the lock in
 * the order of statements stays true until the transaction ends.
 */
export async function loadReportState(
  tx: Tx,
  of: Pick<ClusterRow, 'mesh' | 'id' | 'name'>,
  batch: { readonly keys: readonly string[]; readonly services: readonly ServiceKey[]; readonly now: number },
): Promise<ReportState> {
  const ref = { mesh: of.mesh, stream: reportStream(of.name) }
  const counts = batch.services.length > 0
  const [cluster, rep, hashes, items, told] = await Promise.all([
    clusterById(tx, { mesh: of.mesh, id: of.id }),
    holdStream(tx, ref, batch.now),
    counts ? loadHashes(tx, ref, batch.keys) : undefined,
    counts ? undefined : loadItems(tx, ref, batch.keys),
    counts ? loadTold(tx, of, batch.services) : undefined,
  ])
  const [row] = cluster
  return { cluster: row && parseCluster(row), rep, reported: hashes ?? items ?? [], items, told }
}

async function loadTold(
  tx: Tx,
  { mesh, name }: Pick<ClusterRow, 'mesh' | 'name'>,
  services: readonly ServiceKey[],
): Promise<Told> {
  const ref = { mesh, stream: epStream(name, everybody) }
  const [[stream], items, work] = await Promise.all([
    streamByName(tx, ref),
    loadHashes(tx, ref, services),
    outboxHead(tx, { mesh }),
  ])
  return { stream: stream && parseStream(stream), items, asked: work.length > 0 }
}

const parseCluster = rowParser(clusters)
const parseStream = rowParser(streams)
const clusterById = fixedStatement((tx) =>
  tx
    .select()
    .from(clusters)
    .where(and(eq(clusters.mesh, given('mesh')), eq(clusters.id, given('id')))),
)
const streamByName = fixedStatement((tx) =>
  tx
    .select()
    .from(streams)
    .where(and(eq(streams.mesh, given('mesh')), eq(streams.stream, given('stream')))),
)
const outboxHead = fixedStatement((tx) =>
  tx
    .select({ id: outbox.id })
    .from(outbox)
    .where(eq(outbox.mesh, given('mesh')))
    .limit(1),
)
