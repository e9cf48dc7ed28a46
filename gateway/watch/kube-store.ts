import { type FileState, nextFileState } from '#gateway/watch/file-state.ts'
import { type Head, parseHead } from '#gateway/watch/kube-event.ts'
import { apiVersionOf, basePath, type WatchedKind } from '#gateway/watch/kube-kinds.ts'
import type { ParsedFile, PlacedObject } from '#gateway/watch/parse-file.ts'
import { parseObject } from '#gateway/watch/parse-object.ts'
import { isOlder } from '#gateway/watch/resource-version.ts'
import type { Change } from '#gateway/watch/sorted-objects.ts'
import type { RejectedObject } from '#mesh/model/view.ts'

/** One object at one version: what it says, or what it said last where it no longer can be used. */
type Kept = { readonly version: string; readonly state: FileState; readonly also?: unknown }

/** What a complete list is read into before any of it counts. */
export type Listed = { readonly objects: Map<string, Kept>; past: number }

/** The objects of one kind, cut down to what is used of them. */
export type KindStore = {
  readonly kind: WatchedKind
  /** Reads one item of a list. Throws `invalid` where it is no object. */
  read(listed: Listed, item: unknown, version: string, again?: 'restored'): void
  /** All there is. */
  replace(listed: Listed): void
  put(head: Head, object: unknown, version: string): void
  remove(head: Head): void
  versionOf(key: string): string | undefined
  /** As last known by an earlier process: it stands until the server has said what there is. */
  recall(objects: readonly PlacedObject[]): void
  objects(): readonly PlacedObject[]
  /** By key what `also` made of each object; the same map until one of them changes. */
  also(): ReadonlyMap<string, unknown>
  rejected(): readonly RejectedObject[]
  /** How many were not taken because there were too many. */
  past(): number
}

export type StoreParts = {
  readonly kind: WatchedKind
  readonly onChange: (change: Change) => void
  /** What somebody else keeps of an object, undefined for nothing; `onAlso` when that may have changed. */
  readonly also?: (object: unknown) => unknown
  readonly onAlso?: () => void
}

export const noneListed = (): Listed => ({ objects: new Map(), past: 0 })

export function kindStore({ kind, onChange, also, onAlso }: StoreParts): KindStore {
  let kept = new Map<string, Kept>()
  let past = 0
  /** Of all these it is known that something is wrong: the others need not be asked. */
  let wrong = new Map<string, readonly RejectedObject[]>()
  let alsoKept: ReadonlyMap<string, unknown> | undefined

  const parsed = (head: Head, object: unknown, version: string, known: Kept | undefined): Kept => {
    const at = placeOf(kind, head, version)
    const said = parsedAt(at, idOf(kind, head.key), {
      ...(object as object),
      apiVersion: apiVersionOf(kind, version),
      kind: kind.kind,
    })
    const more = also?.(object)
    const state = nextFileState(known?.state, said)
    return { version: head.version, state, ...(more === undefined ? {} : { also: more }) }
  }
  const note = (key: string, next: Kept | undefined): void => {
    const rejected = rejectedIn(next)
    if (rejected.length > 0) wrong.set(key, rejected)
    else wrong.delete(key)
  }
  const tell = (before: Kept | undefined, next: Kept | undefined): void => {
    if (before?.also !== next?.also) {
      alsoKept = undefined
      onAlso?.()
    }
    const [old, now] = [placedIn(before), placedIn(next)]
    if (old !== now || rejectedIn(before) !== rejectedIn(next))
      onChange({ ...(old ? { old } : {}), ...(now ? { now } : {}) })
  }

  return {
    kind,
    read(listed, item, version, again) {
      const head = parseHead(item, kind.resource)
      const known = kept.get(head.key)
      if (known === undefined && listed.objects.size >= kind.max) {
        listed.past++
        return
      }
      const isKnown = known?.version === head.version || (known && !again && isOlder(head.version, known.version))
      listed.objects.set(head.key, isKnown ? known : parsed(head, item, version, known))
    },
    replace(listed) {
      const before = kept
      kept = listed.objects
      past = listed.past
      wrong = new Map()
      for (const [key, next] of kept) {
        note(key, next)
        if (before.get(key) !== next) tell(before.get(key), next)
      }
      for (const [key, gone] of before) if (!kept.has(key)) tell(gone, undefined)
    },
    put(head, object, version) {
      const before = kept.get(head.key)
      if (before === undefined && kept.size >= kind.max) {
        past = Math.max(past, 1)
        return
      }
      const next = parsed(head, object, version, before)
      kept.set(head.key, next)
      note(head.key, next)
      tell(before, next)
    },
    remove(head) {
      const before = kept.get(head.key)
      if (!before) return
      kept.delete(head.key)
      note(head.key, undefined)
      tell(before, undefined)
    },
    versionOf: (key) => kept.get(key)?.version,
    recall(objects) {
      const prefix = `${kind.kind} `.length
      for (const placed of objects.slice(0, kind.max))
        kept.set(placed.id.slice(prefix), { version: '', state: { live: [placed], stale: [], rejected: [] } })
    },
    objects: () => [...kept.values()].flatMap((one) => placedIn(one) ?? []),
    also: () => {
      alsoKept ??= new Map([...kept].flatMap(([key, one]) => (one.also === undefined ? [] : [[key, one.also]])))
      return alsoKept
    },
    rejected: () => [...[...wrong.values()].flat(), ...(past > 0 ? [tooMany(kind, past)] : [])],
    past: () => past,
  }
}

const placedIn = (one: Kept | undefined): PlacedObject | undefined => one?.state.live[0] ?? one?.state.stale[0]

const nothingRejected: readonly RejectedObject[] = []
const rejectedIn = (one: Kept | undefined): readonly RejectedObject[] =>
  one && one.state.rejected.length > 0 ? one.state.rejected : nothingRejected

const idOf = ({ kind }: WatchedKind, key: string): string => `${kind} ${key}`

const placeOf = (kind: WatchedKind, { namespace, name }: Head, version: string): string =>
  `${basePath(kind, version)}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${kind.resource}/${name}`

/** As a file with this one object in it would be read. */
function parsedAt(at: string, id: string, raw: unknown): ParsedFile {
  const parsed = parseObject(raw)
  const nothing = { objects: [], rejected: [], invalid: new Set<string>(), isUnclear: false }
  if (parsed.outcome === 'ignored') return nothing
  if (parsed.outcome === 'used') return { ...nothing, objects: [{ id, at, object: parsed.object }] }
  return { ...nothing, rejected: [{ at, object: id, reason: parsed.reason }], invalid: new Set([id]) }
}

const tooMany = (kind: WatchedKind, past: number): RejectedObject => ({
  at: kind.resource,
  object: kind.kind,
  reason: `${past} are past the bound of ${kind.max} and are set aside: remove some, or divide the cluster`,
})
