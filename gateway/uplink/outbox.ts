import { hashOf, type Json } from '#mesh/model/canonical.ts'
import { reportLimits } from '#mesh/wire/report.ts'
import { addItem, emptyRoot, removeItem } from '#mesh/wire/root.ts'
import { formatEpoch, parseEpoch, type SyncRequest } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'

/**
 * What the centre has been told and what it is still to be told. A map by key, the latest value wins, so it is bounded
 * by the number of exported services however long the centre is away. One batch is in flight at a time; its number is
 * taken only when its answer was seen, so a lost answer sends the very same batch again.
 */
export type Outbox = {
  readonly epoch: string
  readonly seq: number
  /** Items as of the last acknowledged batch. */
  readonly told: ReadonlyMap<string, string>
  readonly root: string
  /** True once the centre acknowledged the whole first report of this epoch. */
  readonly complete: boolean
}

/**
 * A fresh epoch of `instance`: everything is to be told again. It sorts after the epoch `after`. `rival`: another relay
 * that reports as this cluster.
 */
export function newOutbox(now: number, instance: string, after = '', rival?: string): Outbox {
  const startedAt = Math.max(now, (parseEpoch(after)?.startedAt ?? 0) + 1)
  const epoch = formatEpoch(startedAt, instance, rival)
  return { epoch, seq: 0, told: new Map(), root: emptyRoot, complete: false }
}

export type Batch = {
  readonly request: SyncRequest
  readonly after: Outbox
  /** Items that no batch can carry: what was told of them before stands. */
  readonly tooLarge: readonly { readonly key: string; readonly reason: string }[]
}

const hashes = new WeakMap<object, string>()
const bytesOf = (value: Json): number => Buffer.byteLength(JSON.stringify(value))

/** The hash of an item's body, computed once for each object. */
function hashed(value: Json): string {
  if (typeof value !== 'object' || value === null) return hashOf(value)
  const known = hashes.get(value) ?? hashOf(value)
  hashes.set(value, known)
  return known
}

/** How many items the centre does not know as they are wanted. */
export function differing({ told }: Outbox, wanted: ReadonlyMap<string, Json>): number {
  let count = 0
  for (const key of told.keys()) if (!wanted.has(key)) count++
  for (const [key, value] of wanted) if (told.get(key) !== hashed(value)) count++
  return count
}

/** What an item costs beside its key and body. */
const itemBytes = 16
const batchBytesMax = reportLimits.bodyBytes * 0.75

/**
 * The next batch that brings the centre to `wanted`, and the outbox once it is acknowledged; undefined when the centre
 * knows everything (a heartbeat is asked for with `heartbeat`). At most 500 items and about 384 KB a batch.
 */
export function nextBatch(outbox: Outbox, wanted: ReadonlyMap<string, Json>, heartbeat: boolean): Batch | undefined {
  const items: { k: string; v: Record<string, unknown> | null }[] = []
  const told = new Map(outbox.told)
  const tooLarge: { key: string; reason: string }[] = []
  let root = outbox.root
  let bytes = 0
  let more = false
  const fits = (size: number) =>
    items.length < reportLimits.items && (items.length === 0 || bytes + size <= batchBytesMax)
  const take = (key: string, value: Json | undefined, old: string | undefined) => {
    if (old !== undefined) root = removeItem(root, key, old)
    if (value === undefined) told.delete(key)
    else {
      const hash = hashed(value)
      root = addItem(root, key, hash)
      told.set(key, hash)
      bytes += bytesOf(value)
    }
    bytes += itemBytes + Buffer.byteLength(key)
    items.push({ k: key, v: (value ?? null) as Record<string, unknown> | null })
  }
  for (const [key, old] of outbox.told) {
    if (wanted.has(key)) continue
    if (fits(0)) take(key, undefined, old)
    else more = true
  }
  for (const [key, value] of wanted) {
    const old = outbox.told.get(key)
    if (old === hashed(value)) continue
    const size = bytesOf(value)
    if (size > batchBytesMax) tooLarge.push({ key, reason: `has ${size} bytes; at most ${reportLimits.valueBytes}` })
    else if (fits(size)) take(key, value, old)
    else {
      more = true
      break
    }
  }
  const complete = !outbox.complete && !more
  if (items.length === 0 && !complete && !heartbeat) return undefined
  const seq = outbox.seq + 1
  return {
    request: { proto: meshSyncText, epoch: outbox.epoch, seq, items, root, ...(complete ? { complete } : {}) },
    after: { epoch: outbox.epoch, seq, told, root, complete: outbox.complete || complete },
    tooLarge,
  }
}
