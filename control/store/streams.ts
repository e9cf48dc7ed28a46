import { and, eq, gt, inArray, ne, notInArray, or, type SQL } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { fixedStatement, given } from '#control/store/fixed-statement.ts'
import { type ItemHash, selectHashes, selectItems } from '#control/store/item-statements.ts'
import { type ItemRow, items, type StreamRow, streams } from '#control/store/schema/stream.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { StreamName } from '#mesh/wire/stream.ts'

export type { ItemHash, ItemRow, StreamRow }

/** Names one stream of one mesh. */
export type StreamRef = { readonly mesh: string; readonly stream: StreamName }

/** Rows of one statement: DSQL takes 3,000 a transaction, PostgreSQL 65,535 parameters a statement. */
export const rowsMax = 500

export const isStream = ({ mesh, stream }: StreamRef): SQL | undefined =>
  and(eq(streams.mesh, mesh), eq(streams.stream, stream))
export const isItemOf = ({ mesh, stream }: StreamRef): SQL | undefined =>
  and(eq(items.mesh, mesh), eq(items.stream, stream))

/** The kind in a stream's name; throws `invalid` for none of ours. */
export function kindOf(stream: StreamName): StreamRow['kind'] {
  const kind = stream.split('/')[0]
  if (kind === 'ep' || kind === 'cfg' || kind === 'trust' || kind === 'adv' || kind === 'rep') return kind
  throw new Problem('invalid', `"${stream.slice(0, 60)}" names no stream`)
}

/** An item as it travels. */
export function toItem(key: string, body: string): { k: string; v: Record<string, unknown> | null } {
  return { k: key, v: body === '' ? null : (JSON.parse(body) as Record<string, unknown>) }
}

export async function loadStream(tx: Tx, ref: StreamRef): Promise<StreamRow | undefined> {
  const [row] = await tx.select().from(streams).where(isStream(ref))
  return row
}

/** All streams of the given kinds (of one source, where given), by name. */
export const loadStreams = (
  tx: Tx,
  mesh: string,
  kinds: readonly StreamRow['kind'][],
  source?: string,
): Promise<StreamRow[]> =>
  tx
    .select()
    .from(streams)
    .where(
      and(
        eq(streams.mesh, mesh),
        inArray(streams.kind, [...kinds]),
        ...(source === undefined ? [] : [eq(streams.source, source)]),
      ),
    )
    .orderBy(streams.stream)

/** The epochs in which these clusters report, by cluster. */
export async function loadReportEpochs(
  tx: Tx,
  mesh: string,
  clusters: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const epochs = new Map<string, string>()
  for (const some of chunks(clusters, rowsMax)) {
    const isReport = and(eq(streams.mesh, mesh), eq(streams.kind, 'rep'), inArray(streams.source, [...some]))
    const rows = await tx.select({ source: streams.source, epoch: streams.srcEpoch }).from(streams).where(isReport)
    for (const { source, epoch } of rows) epochs.set(source, epoch)
  }
  return epochs
}

/** All `ep` streams of a mesh, and of the others those named, by name. */
export const loadDelivered = (tx: Tx, mesh: string, names: readonly StreamName[]): Promise<StreamRow[]> =>
  tx
    .select()
    .from(streams)
    .where(and(eq(streams.mesh, mesh), or(eq(streams.kind, 'ep'), inArray(streams.stream, [...names]))))
    .orderBy(streams.stream)

/** What decides who may read a stream, and how far it is. */
export type HeadRow = Pick<StreamRow, 'stream' | 'kind' | 'source' | 'audience' | 'epoch' | 'head'>

/** The heads of all streams of a mesh that have readers, by name. */
export async function loadHeads(tx: Tx, mesh: string): Promise<HeadRow[]> {
  return (await headsOf(tx, { mesh })).map(
    ([stream, kind, source, audience, epoch, head]): HeadRow => ({
      stream: stream as HeadRow['stream'],
      kind: kind as HeadRow['kind'],
      ...{ source: source as string, audience: audience as string, epoch: epoch as string, head: Number(head) },
    }),
  )
}

const headsOf = fixedStatement((tx) => {
  const { stream, kind, source, audience, epoch, head } = streams
  return tx
    .select({ stream, kind, source, audience, epoch, head })
    .from(streams)
    .where(and(eq(streams.mesh, given('mesh')), ne(streams.kind, 'rep')))
    .orderBy(streams.stream)
})

/** The items (also those gone) of these keys. */
export async function loadItems(tx: Tx, ref: StreamRef, keys: readonly string[]): Promise<ItemRow[]> {
  const found: ItemRow[] = []
  for (const part of chunks(keys, rowsMax)) found.push(...(await selectItems(tx, ref, part)))
  return found
}

/** The same, without what they say. */
export async function loadHashes(tx: Tx, ref: StreamRef, keys: readonly string[]): Promise<ItemHash[]> {
  const found: ItemHash[] = []
  for (const part of chunks(keys, rowsMax)) found.push(...(await selectHashes(tx, ref, part)))
  return found
}

/** The live items of one key in several streams of a mesh. */
export async function loadAcross(tx: Tx, mesh: string, names: readonly StreamName[], key: string): Promise<ItemRow[]> {
  const found: ItemRow[] = []
  for (const part of chunks(names, rowsMax))
    found.push(
      ...(await tx
        .select()
        .from(items)
        .where(and(eq(items.mesh, mesh), inArray(items.stream, [...part]), eq(items.key, key), eq(items.gone, false)))),
    )
  return found
}

/** All live items of a stream, by key. Reads page by page: each page is a snapshot of its own, so hold the stream's lock. */
export async function loadLive(tx: Tx, ref: StreamRef): Promise<ItemRow[]> {
  const found: ItemRow[] = []
  for (let after = ''; ; ) {
    const page = await tx
      .select()
      .from(items)
      .where(and(isItemOf(ref), eq(items.gone, false), gt(items.key, after)))
      .orderBy(items.key)
      .limit(rowsMax)
    found.push(...page)
    const last = page.at(-1)
    if (page.length < rowsMax || !last) return found
    after = last.key
  }
}

/** What lives in a stream: key and hash, without the bodies. */
export const liveHashes = (tx: Tx, ref: StreamRef): Promise<Pick<ItemRow, 'key' | 'hash'>[]> =>
  tx
    .select({ key: items.key, hash: items.hash })
    .from(items)
    .where(and(isItemOf(ref), eq(items.gone, false)))

/** Keys of live items; of those that `exceptEpoch` has not named, where it is given. */
export async function liveKeys(tx: Tx, ref: StreamRef, exceptEpoch?: string): Promise<string[]> {
  const rows = await tx
    .select({ key: items.key })
    .from(items)
    .where(
      and(
        isItemOf(ref),
        eq(items.gone, false),
        ...(exceptEpoch === undefined ? [] : [ne(items.srcEpoch, exceptEpoch)]),
      ),
    )
  return rows.map((row) => row.key)
}

export function* chunks<T>(list: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size)
}

/** Live items of these keys (of all keys, where not given) in any of these streams. */
export async function loadPlaced(
  tx: Tx,
  mesh: string,
  names: readonly StreamName[],
  keys?: readonly string[],
): Promise<Pick<ItemRow, 'stream' | 'key'>[]> {
  if (names.length === 0) return []
  const live = and(eq(items.mesh, mesh), inArray(items.stream, [...names]), eq(items.gone, false))
  const columns = { stream: items.stream, key: items.key }
  if (keys === undefined) return tx.select(columns).from(items).where(live)
  const found: Pick<ItemRow, 'stream' | 'key'>[] = []
  for (const part of chunks(keys, rowsMax))
    found.push(
      ...(await tx
        .select(columns)
        .from(items)
        .where(and(live, inArray(items.key, [...part])))),
    )
  return found
}

/** True when the stream has a live item besides these keys. */
export async function hasOthers(tx: Tx, ref: StreamRef, besides: readonly string[]): Promise<boolean> {
  const rows = await tx
    .select({ key: items.key })
    .from(items)
    .where(and(isItemOf(ref), eq(items.gone, false), notInArray(items.key, [...besides])))
    .limit(1)
  return rows.length > 0
}
