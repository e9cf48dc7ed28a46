import { isDeepStrictEqual } from 'node:util'
import type { ParsedFile, PlacedObject } from '#gateway/watch/parse-file.ts'
import type { RejectedObject } from '#mesh/model/view.ts'

/** What one file says now, and what it said last where it no longer can be read. */
export type FileState = {
  readonly live: readonly PlacedObject[]
  /** Last good objects that the file neither holds in a usable form nor clearly gave up. */
  readonly stale: readonly PlacedObject[]
  readonly rejected: readonly RejectedObject[]
  /** Set until it was read clearly for the first time: nobody knows what it holds. */
  readonly isUnread?: true
}

/**
 * The state of a file after reading it again. Objects that did not change keep their identity. An object that the file
 * now says wrongly, or may say in a part that cannot be read, stays as it was last good: only a file that reads clearly
 * without the object takes it away.
 */
export function nextFileState(before: FileState | undefined, parsed: ParsedFile): FileState {
  const known = new Map([...(before?.stale ?? []), ...(before?.live ?? [])].map((placed) => [placed.id, placed]))
  const live = parsed.objects.map((placed) => {
    const old = known.get(placed.id)
    return old && isDeepStrictEqual(old, placed) ? old : placed
  })
  const present = new Set(live.map((placed) => placed.id))
  const stale = [...known.values()].filter(
    (placed) => !present.has(placed.id) && (parsed.isUnclear || parsed.invalid.has(placed.id)),
  )
  const isKept = new Set(stale.map((placed) => placed.id))
  const said = parsed.rejected.map((r) =>
    isKept.has(r.object) ? { ...r, reason: `${r.reason}: it stays as it was` } : r,
  )
  const unsaid = stale
    .filter((placed) => !parsed.invalid.has(placed.id))
    .map((placed) => ({
      at: placed.at,
      object: placed.id,
      reason: `its file cannot be read whole (${parsed.rejected[0]?.reason ?? 'unknown'}): it stays as it was`,
    }))
  const isUnread = parsed.isUnclear && (before === undefined || before.isUnread === true)
  const next = { live, stale, rejected: [...said, ...unsaid], ...(isUnread ? { isUnread: true as const } : {}) }
  return before && isDeepStrictEqual(before, next) ? before : next
}

const objectsMax = 20_000

/** All files as one set of objects, in order of their ids. */
export type Merged = {
  readonly files: ReadonlyMap<string, FileState>
  readonly objects: readonly PlacedObject[]
  readonly rejected: readonly RejectedObject[]
  /** Set where nothing but these changed since the last time: each stands where another of its name stood. */
  readonly replaced?: readonly Replaced[]
}

export type Replaced = { readonly old: PlacedObject; readonly now: PlacedObject }

/**
 * All files as one set of objects. Of two objects of one name the one in the first file (by path, then by line) wins and
 * the other is rejected; a stale one never stands against a live one. What is past `max` is rejected. What was merged
 * before only saves work.
 */
export function mergeFiles(files: Merged['files'], before?: Merged, max = objectsMax): Merged {
  const replaced = before && replacedIn(files, before)
  if (!replaced) return { files, ...chosenFrom(files, max) }
  const now = new Map(replaced.map((pair) => [pair.old, pair.now]))
  return { files, objects: before.objects.map((o) => now.get(o) ?? o), rejected: before.rejected, replaced }
}

/** The objects that took the place of others; undefined where that is not all that changed, or not surely. */
function replacedIn(files: Merged['files'], before: Merged): readonly Replaced[] | undefined {
  if (files.size !== before.files.size || before.rejected.length > 0) return undefined
  const all: Replaced[] = []
  for (const [path, state] of files) {
    const was = before.files.get(path)
    if (was === state) continue
    if (!was || was.live.length !== state.live.length) return undefined
    if (was.stale.length + state.stale.length + state.rejected.length > 0) return undefined
    for (const [at, now] of state.live.entries()) {
      const old = was.live[at]
      if (old?.id !== now.id) return undefined
      if (old !== now) all.push({ old, now })
    }
  }
  return all
}

function chosenFrom(files: Merged['files'], max: number): Pick<Merged, 'objects' | 'rejected'> {
  const inOrder = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, state]) => state)
  const chosen = new Map<string, PlacedObject>()
  const rejected = inOrder.flatMap((state) => state.rejected)
  for (const placed of inOrder.flatMap((state) => state.live)) {
    const first = chosen.get(placed.id)
    if (first)
      rejected.push({ at: placed.at, object: placed.id, reason: `is already in ${first.at}: remove one of the two` })
    else if (chosen.size < max) chosen.set(placed.id, placed)
    else rejected.push({ at: placed.at, object: placed.id, reason: `is past the bound of ${max} objects` })
  }
  for (const placed of inOrder.flatMap((state) => state.stale))
    if (!chosen.has(placed.id) && chosen.size < max) chosen.set(placed.id, placed)
  return { objects: [...chosen.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1)), rejected }
}
