import { hashOf, type Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { addItem, emptyRoot, removeItem, rootOf } from '#mesh/wire/root.ts'

/** What the relay holds of one stream: always the whole stream at one revision. */
export type ReceivedStream = {
  readonly epoch: string
  readonly rev: number
  readonly items: ReadonlyMap<string, Json>
  readonly root: string
}

export type Received = ReadonlyMap<string, ReceivedStream>

/**
 * The stream after a delta or a snapshot, or undefined where the delta does not fit (another epoch, a gap, or nothing
 * new): the caller pulls. Throws `conflict` where the root differs from the centre's afterwards: something was lost, and
 * the stream must come whole. Unchanged items keep their identity.
 */
export function applied(before: ReceivedStream | undefined, delta: StreamDelta): ReceivedStream | undefined {
  const after = delta.mode === 'snapshot' ? replaced(before, delta) : advanced(before, delta)
  if (after && after.root !== delta.root)
    throw new Problem('conflict', `stream ${delta.stream} at ${delta.to}: the root differs from the centre's`)
  return after
}

function advanced(before: ReceivedStream | undefined, delta: StreamDelta): ReceivedStream | undefined {
  if (before?.epoch !== delta.epoch || delta.from > before.rev || delta.to <= before.rev) return undefined
  const items = new Map(before.items)
  let root = before.root
  for (const { k, v } of delta.items) {
    const old = items.get(k)
    if (old !== undefined) root = removeItem(root, k, hashOf(old))
    if (v === null) items.delete(k)
    else {
      items.set(k, v as Json)
      root = addItem(root, k, hashOf(v as Json))
    }
  }
  return { epoch: delta.epoch, rev: delta.to, items, root }
}

/** Never an older revision of the same epoch: a late answer must not take the relay back. */
function replaced(before: ReceivedStream | undefined, delta: StreamDelta): ReceivedStream | undefined {
  if (
    before?.epoch === delta.epoch &&
    (delta.to < before.rev || (delta.to === before.rev && before.root === delta.root))
  )
    return undefined
  const items = new Map<string, Json>()
  const hashes = new Map<string, string>()
  // A snapshot of several pages may name a key again, as it changed meanwhile: the last word counts.
  for (const { k, v } of delta.items) {
    items.delete(k)
    hashes.delete(k)
    if (v === null) continue
    const hash = hashOf(v as Json)
    const old = before?.items.get(k)
    items.set(k, old !== undefined && hashOf(old) === hash ? old : (v as Json))
    hashes.set(k, hash)
  }
  return { epoch: delta.epoch, rev: delta.to, items, root: hashes.size === 0 ? emptyRoot : rootOf(hashes) }
}

/**
 * The pages of one stream so far, as one delta that ends where the last page ends. Where the centre began anew between
 * two pages (another epoch, or a snapshot after all) what came before counts for nothing.
 */
export function joined(before: StreamDelta | undefined, page: StreamDelta): StreamDelta {
  const goesOn = before && before.epoch === page.epoch && before.mode === page.mode && before.from === page.from
  return goesOn ? { ...page, items: [...before.items, ...page.items] } : page
}
