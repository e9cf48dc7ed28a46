import { and, eq, gt, or, type SQL } from 'drizzle-orm'
import type { Tx } from '#control/store/database.ts'
import { items, streams } from '#control/store/schema/stream.ts'
import { type StreamRef, toItem } from '#control/store/streams.ts'
import { textFault } from '#mesh/model/canonical.ts'
import type { StreamDelta, StreamItem } from '#mesh/wire/pull.ts'

/** How much one page may hold. At least one item is always given, so that a reader gets on. */
export type PageBudget = { readonly rows: number; readonly bytes: number }

/** Where a reader stands: the revision it holds, or nothing of this epoch. */
export type Position = { readonly epoch: string; readonly rev: number } | undefined

/**
 * A cursor between pages. `d`: a delta since `since`, after (rev, key). `s`: the live items of a snapshot after `key`.
 * `c`: what changed since the snapshot began, after (rev, key). No key is empty, so (rev + 1, '') is where rev ends.
 */
type Cursor =
  | {
      readonly t: 'd' | 'c'
      readonly epoch: string
      readonly since: number
      readonly rev: number
      readonly key: string
    }
  | { readonly t: 's'; readonly epoch: string; readonly since: number; readonly key: string }

/** A row of the one statement that reads a page: the stream's position, and an item where there is one. */
type PageRow = {
  readonly epoch: string
  readonly head: number
  readonly floor: number
  readonly root: string
  readonly key: string | null
  readonly rev: number | null
  readonly body: string | null
}

/**
 * The next page for a reader; undefined when the stream does not exist. Without `next` it begins where the reader
 * stands: a delta when its revision is of this epoch and not behind the collected tombstones, else a snapshot. A `next`
 * that no longer fits (another epoch, tombstones collected meanwhile) begins a snapshot anew.
 *
 * Position, root and items come from one statement, so they are one state on every engine and isolation level. A page
 * without `next` is the last: it reached the head that it names, and only then the pages together are the stream at that
 * head. A key seen on an early page that changed later is given again on a later one.
 */
export async function readPage(
  tx: Tx,
  ref: StreamRef,
  from: { readonly have: Position; readonly next?: string | undefined },
  budget: PageBudget,
): Promise<StreamDelta | undefined> {
  const cursor = parseCursor(from.next) ?? startOf(from.have)
  const rows = await select(tx, ref, cursor, budget.rows)
  const at = rows[0]
  if (!at) return undefined
  // A snapshot may begin at any epoch and note it; everything else must be of the epoch it began in.
  const begins = cursor.t === 's' && cursor.epoch === ''
  const lost = !begins && (cursor.epoch !== at.epoch || cursor.since < at.floor || cursor.since > at.head)
  if (lost) return readPage(tx, ref, { have: undefined }, budget)
  const { list, last, whole } = taken(rows, budget)
  const since = begins ? at.head : cursor.since
  const next = whole ? undefined : nextCursor(cursor, at.epoch, since, last)
  const page: StreamDelta = {
    stream: ref.stream,
    epoch: at.epoch,
    from: cursor.t === 'd' ? cursor.since : 0,
    to: at.head,
    mode: cursor.t === 'd' ? 'delta' : 'snapshot',
    items: list,
    root: at.root,
  }
  if (next !== undefined) return { ...page, next: formatCursor(next) }
  // All live items were read, over several states where there were several pages: now what changed since the first.
  if (cursor.t === 's' && !begins && at.head > since)
    return { ...page, next: formatCursor({ t: 'c', epoch: at.epoch, since, rev: since + 1, key: '' }) }
  return page
}

/** A page that says only that there is something: for a reader whose answer is full before this stream's turn. */
export function deferred(
  ref: StreamRef,
  at: { epoch: string; head: number; root: string },
  have: Position,
): StreamDelta {
  const cursor = startOf(have)
  return {
    stream: ref.stream,
    epoch: at.epoch,
    from: cursor.t === 'd' ? cursor.since : 0,
    to: at.head,
    mode: cursor.t === 'd' ? 'delta' : 'snapshot',
    items: [],
    next: formatCursor(cursor),
    root: at.root,
  }
}

const startOf = (have: Position): Cursor =>
  have
    ? { t: 'd', epoch: have.epoch, since: have.rev, rev: have.rev + 1, key: '' }
    : { t: 's', epoch: '', since: 0, key: '' }

const select = (tx: Tx, { mesh, stream }: StreamRef, cursor: Cursor, limit: number): Promise<PageRow[]> =>
  tx
    .select({
      epoch: streams.epoch,
      head: streams.head,
      floor: streams.floor,
      root: streams.root,
      key: items.key,
      rev: items.rev,
      body: items.body,
    })
    .from(streams)
    .leftJoin(items, and(eq(items.mesh, streams.mesh), eq(items.stream, streams.stream), beyond(cursor)))
    .where(and(eq(streams.mesh, mesh), eq(streams.stream, stream)))
    .orderBy(...(cursor.t === 's' ? [items.key] : [items.rev, items.key]))
    .limit(limit + 1)

const beyond = (cursor: Cursor): SQL | undefined =>
  cursor.t === 's'
    ? and(eq(items.gone, false), gt(items.key, cursor.key))
    : or(gt(items.rev, cursor.rev), and(eq(items.rev, cursor.rev), gt(items.key, cursor.key)))

type Last = { readonly rev: number; readonly key: string }

/** As many of the rows as the budget takes; `whole` when there are no more of them. */
function taken(
  rows: readonly PageRow[],
  budget: PageBudget,
): { readonly list: StreamItem[]; readonly last: Last; readonly whole: boolean } {
  const list: StreamItem[] = []
  let last: Last = { rev: 0, key: '' }
  let bytes = 0
  for (const { key, rev, body } of rows) {
    if (key === null || rev === null || body === null) continue
    if (list.length === budget.rows || (list.length > 0 && bytes + body.length > budget.bytes))
      return { list, last, whole: false }
    list.push(toItem(key, body))
    last = { rev, key }
    bytes += body.length + key.length
  }
  return { list, last, whole: true }
}

const nextCursor = (cursor: Cursor, epoch: string, since: number, last: Last): Cursor =>
  cursor.t === 's' ? { t: 's', epoch, since, key: last.key } : { ...cursor, epoch, since, ...last }

const formatCursor = (cursor: Cursor): string => Buffer.from(JSON.stringify(cursor)).toString('base64url')

/** What this file once gave out; undefined for anything else, which then begins from the reader's position. */
function parseCursor(text: string | undefined): Cursor | undefined {
  if (text === undefined) return undefined
  try {
    const c = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Record<string, unknown>
    const { t, epoch, since, rev, key } = c
    if (typeof epoch !== 'string' || typeof key !== 'string' || textFault(key) || !isRevision(since)) return undefined
    if (t === 's') return { t, epoch, since, key }
    return (t === 'd' || t === 'c') && isRevision(rev) ? { t, epoch, since, rev, key } : undefined
  } catch {
    return undefined
  }
}

const isRevision = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
