import { randomBytes } from 'node:crypto'
import { and, eq, inArray, ne } from 'drizzle-orm'
import { LostRace, type Tx } from '#control/store/database.ts'
import { fixedStatement, given, rowParser } from '#control/store/fixed-statement.ts'
import { upsertItems } from '#control/store/item-statements.ts'
import { items, type StreamRow, streams } from '#control/store/schema/stream.ts'
import {
  chunks,
  type ItemRow,
  isItemOf,
  isStream,
  kindOf,
  liveHashes,
  loadItems,
  rowsMax,
  type StreamRef,
  toItem,
} from '#control/store/streams.ts'
import { canonicalJson, type Json, sha256Hex } from '#mesh/model/canonical.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { emptyRoot, rootAfter } from '#mesh/wire/root.ts'

/** What a producer says of one key; no body = gone. */
export type Change = { readonly key: string; readonly body: Json | undefined }

/** The same as it is stored: hash and canonical text. `hash` empty = gone; `srcEpoch` only in `rep` streams. */
export type Write = { readonly key: string; readonly hash: string; readonly body: string; readonly srcEpoch?: string }

/**
 * Appends `changes` to a stream as one revision, and gives back that revision as a delta; undefined where nothing
 * changed. The stream is made when it does not exist. The caller commits: the changes and whatever caused them stand or
 * fall together.
 */
export async function append(
  tx: Tx,
  ref: StreamRef,
  changes: readonly Change[],
  now: number,
): Promise<StreamDelta | undefined> {
  const stream = await lockStream(tx, ref, now)
  const { delta } = await writeItems(tx, stream, changes.map(toWrite), { now })
  return delta
}

/** As `append`, with `entries` being all that the stream is to hold: what is not among them goes. */
export const appendWhole = (
  tx: Tx,
  ref: StreamRef,
  entries: ReadonlyMap<string, Json>,
  now: number,
): Promise<StreamDelta | undefined> =>
  appendWholeText(tx, ref, new Map([...entries].map(([key, body]) => [key, canonicalJson(body)])), now)

/** As `appendWhole`, where bodies are canonical JSON already. */
async function appendWholeText(
  tx: Tx,
  ref: StreamRef,
  entries: ReadonlyMap<string, string>,
  now: number,
): Promise<StreamDelta | undefined> {
  const stream = await lockStream(tx, ref, now)
  const writes = [...entries].map(([key, body]): Write => ({ key, hash: sha256Hex(body), body }))
  const before = await liveHashes(tx, ref)
  for (const { key } of before) if (!entries.has(key)) writes.push({ key, hash: '', body: '' })
  const { delta } = await writeItems(tx, stream, writes, { now, before })
  return delta
}

/**
 * The row of a stream, locked until the transaction ends, and made where it was missing. Everything that a writer then
 * reads of the stream stays true until it commits; on engines without locks the second writer fails with 40001 and runs
 * again. Lock `rep/<cluster>` before any `ep/<cluster>/…`, and those in the order of their names: no two writers wait
 * for each other.
 */
export async function lockStream(tx: Tx, ref: StreamRef, now: number): Promise<StreamRow> {
  const found = await holdStream(tx, ref, now)
  if (found) return found
  const [, source = '', audience = ''] = ref.stream.split('/')
  const fresh: StreamRow = {
    ...ref,
    kind: kindOf(ref.stream),
    source,
    audience,
    epoch: newEpoch(now),
    head: 0,
    floor: 0,
    root: emptyRoot,
    srcEpoch: '',
    srcSeq: 0,
    complete: false,
    updatedAt: now,
  }
  await tx.insert(streams).values(fresh).onConflictDoNothing()
  const made = await holdStream(tx, ref, now)
  if (!made) throw new LostRace(`stream ${ref.stream} was removed while it was made`)
  return made
}

/** As `lockStream`; undefined where there is no such stream. */
export async function holdStream(tx: Tx, { mesh, stream }: StreamRef, now: number): Promise<StreamRow | undefined> {
  const [row] = await lockRow(tx, { mesh, stream, now })
  return row && parseStream(row)
}

const parseStream = rowParser(streams)
const isGiven = and(eq(streams.mesh, given('mesh')), eq(streams.stream, given('stream')))
const lockRow = fixedStatement((tx) =>
  tx
    .update(streams)
    .set({ updatedAt: given('now') })
    .where(isGiven)
    .returning(),
)
const moveRow = fixedStatement((tx) =>
  tx
    .update(streams)
    .set({
      ...{ head: given('head'), root: given('root'), updatedAt: given('now') },
      ...{ srcEpoch: given('srcEpoch'), srcSeq: given('srcSeq'), complete: given('complete') },
    })
    .where(and(isGiven, eq(streams.head, given('from')), eq(streams.epoch, given('epoch'))))
    .returning({ stream: streams.stream }),
)

/** Begins with the time, so that it is seen how old an epoch is. */
const newEpoch = (now: number): string => `${now.toString(36)}-${randomBytes(4).toString('hex')}`

/** Unix ms at which an epoch began. */
export const epochStart = (epoch: string): number => Number.parseInt(epoch.split('-')[0] ?? '', 36) || 0

export type Written = {
  readonly stream: StreamRow
  readonly changed: readonly string[]
  /** True when a key lives that did not live before. */
  readonly grew: boolean
  readonly delta?: StreamDelta
}

/**
 * Writes what differs from the stored items as the next revision of a locked stream, together with `set` on its row.
 * Where nothing differs there is no new revision, and only `set` is stored. Gives back the row as it is now and the
 * revision as a delta (of `rep` streams too, where a body may be empty: those are not for readers). `before`: the rows of
 * these keys, where the caller has read them under the lock; those that are gone may be left out.
 */
export async function writeItems(
  tx: Tx,
  stream: StreamRow,
  writes: readonly Write[],
  to: {
    readonly now: number
    readonly set?: Partial<Pick<StreamRow, 'srcEpoch' | 'srcSeq' | 'complete'>>
    readonly before?: readonly Pick<ItemRow, 'key' | 'hash'>[]
  },
): Promise<Written> {
  const latest = new Map(writes.map((write) => [write.key, write]))
  const stored = to.before ?? (await loadItems(tx, stream, [...latest.keys()]))
  const before = new Map(stored.map((item) => [item.key, item]))
  const hashBefore = (key: string) => before.get(key)?.hash ?? ''
  const differing = [...latest.values()].filter((write) => write.hash !== hashBefore(write.key))
  const moves = differing.map(({ key, hash }) => ({ key, before: hashBefore(key), after: hash }))
  const root = rootAfter(stream.root, moves)
  if (differing.length === 0 && to.set === undefined) return { stream, changed: [], grew: false }
  const rev = stream.head + (differing.length > 0 ? 1 : 0)
  const moved: StreamRow = { ...stream, ...to.set, head: rev, root, updatedAt: to.now }
  const [rows] = await Promise.all([move(tx, stream, moved), upsert(tx, stream, differing, rev, to.now)])
  if (rows.length === 0) throw new LostRace(`stream ${stream.stream} moved on`)
  if (differing.length === 0) return { stream: moved, changed: [], grew: false }
  const grew = differing.some(({ key, hash }) => hash !== '' && hashBefore(key) === '')
  return { stream: moved, changed: differing.map((w) => w.key), grew, delta: deltaOf(moved, stream, differing) }
}

const move = (tx: Tx, from: StreamRow, { mesh, stream, epoch, head, root, ...to }: StreamRow) =>
  moveRow(tx, {
    ...{ mesh, stream, epoch, from: from.head, head, root, now: to.updatedAt },
    ...{ srcEpoch: to.srcEpoch, srcSeq: to.srcSeq, complete: to.complete },
  })

async function upsert(tx: Tx, ref: StreamRef, writes: readonly Write[], rev: number, now: number): Promise<void> {
  const { mesh, stream } = ref
  const alike = Map.groupBy(writes, ({ hash, srcEpoch = '' }) => `${hash === ''} ${srcEpoch}`)
  for (const some of alike.values()) {
    const gone = some[0]?.hash === ''
    const srcEpoch = some[0]?.srcEpoch ?? ''
    for (const part of chunks(some, rowsMax))
      await upsertItems(tx, { mesh, stream, rev, gone, srcEpoch, updatedAt: now }, part)
  }
}

/** The first revision of a stream is all of it, so a reader that has nothing can take it as a snapshot. */
function deltaOf(now: StreamRow, before: StreamRow, writes: readonly Write[]): StreamDelta {
  const mode = before.head === 0 ? 'snapshot' : 'delta'
  const list = writes.filter((w) => mode === 'delta' || w.hash !== '').map(({ key, body }) => toItem(key, body))
  return { stream: now.stream, epoch: now.epoch, from: before.head, to: now.head, mode, items: list, root: now.root }
}

export function toWrite({ key, body }: Change): Write {
  if (body === undefined) return { key, hash: '', body: '' }
  const text = canonicalJson(body)
  return { key, hash: sha256Hex(text), body: text }
}

/** Notes that the source's epoch has named these keys, also where nothing about them changed. No new revision. */
export async function markNamed(tx: Tx, ref: StreamRef, keys: readonly string[], srcEpoch: string): Promise<void> {
  for (const part of chunks(keys, rowsMax))
    await tx
      .update(items)
      .set({ srcEpoch })
      .where(and(isItemOf(ref), inArray(items.key, [...part]), ne(items.srcEpoch, srcEpoch)))
}

/** Gives a stream a new epoch, so that all its readers take a snapshot; nothing where it has one already. */
export async function renewEpoch(tx: Tx, stream: StreamRow, now: number): Promise<void> {
  await tx
    .update(streams)
    .set({ epoch: newEpoch(now), updatedAt: now })
    .where(and(isStream(stream), eq(streams.epoch, stream.epoch)))
}
