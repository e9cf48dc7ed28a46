import type { XdsResource } from '#mesh/model/resource.ts'

/**
 * Remembers what was built from which inputs. Inputs are compared by identity: a view whose parts did not change gives
 * the same objects again, and nothing is encoded twice.
 */
export type Memo = {
  /** What `build` gave for this key the last time, where every input is still the same; `build` is told what that was. */
  keep<T>(key: string, inputs: readonly unknown[], build: (before: T | undefined) => T): T
  /** The same for what belongs to one object (a proxy): forgotten with it. One value for each object. */
  keepFor<T>(owner: object, inputs: readonly unknown[], build: () => T): T
  /**
   * The resource of each item, in their order: only for an item that is new, or has other inputs than the last time, is
   * `build` called. Where it gives the same bytes as before the older object stays; the same resources give the same list.
   */
  each<I extends object>(key: string, items: readonly I[], of: Making<I>): readonly XdsResource[]
  /** The same for plain data; where other inputs give equal data (a config read anew), the older object stays. */
  data<T>(key: string, inputs: readonly unknown[], build: () => T): T
  /** The same for one resource; where other inputs give the same bytes, the older object stays. */
  resource(key: string, inputs: readonly unknown[], build: () => XdsResource): XdsResource
  /** The same for a list; where other inputs give the same members, the older list stays. */
  list<T>(key: string, inputs: readonly unknown[], build: () => readonly T[]): readonly T[]
  /** A new round of questions begins. Sweeps where something was replaced not long ago, and now and then. */
  turn(): void
  /** What many are made of was replaced: the next turns forget what was made of it. */
  replaced(): void
  /** Forgets what was not asked for since the last but one call: services that are gone, proxies that left. */
  sweep(): void
  /** How often it was swept: who keeps a value by himself asks for it anew after each time. */
  sweeps(): number
}

/** How the resources of items are made, and from what: of all of them, and of each. */
export type Making<I> = {
  readonly shared: readonly unknown[]
  readonly inputs: (item: I) => readonly unknown[]
  readonly build: (item: I) => XdsResource
}

type Row = { readonly item: unknown; readonly inputs: readonly unknown[]; readonly resource: XdsResource }

type Rows = {
  readonly shared: readonly unknown[]
  readonly rows: readonly Row[]
  readonly list: readonly XdsResource[]
}

type Entry = {
  inputs: readonly unknown[]
  value: unknown
  used: number
  /** What was asked for while this was built: as long as this is used, so are they. */
  parts: readonly Entry[]
}

/** Most of what is kept rests: who holds it himself need not be asked at every turn. */
const turnsPerSweep = 64
/** After so many sweeps nothing is left of what nobody asked for since the first of them. */
const sweepsToForget = 3

export function createMemo(): Memo {
  const entries = new Map<string, Entry>()
  const owned = new WeakMap<object, Entry>()
  const building: Set<Entry>[] = []
  let round = 0
  let turns = 0
  let sweepsDue = 0

  function lookUp<T>(
    key: string,
    inputs: readonly unknown[],
    build: (before: T | undefined) => T,
    settle: (old: T, next: T) => T,
  ): T {
    const found = entries.get(key)
    if (found && same(found.inputs, inputs)) return use(found) as T
    const { value: next, parts } = gather(() => build(found?.value as T | undefined))
    const value = found ? settle(found.value as T, next) : next
    return put(found, { inputs, value, parts }, (fresh) => entries.set(key, fresh)) as T
  }

  function put(found: Entry | undefined, row: Omit<Entry, 'used'>, add: (fresh: Entry) => void): unknown {
    const entry = found ? Object.assign(found, row, { used: round }) : { ...row, used: round }
    if (!found) add(entry)
    building.at(-1)?.add(entry)
    return row.value
  }

  /** Builds, and notes what was asked for meanwhile. */
  function gather<T>(build: () => T): { readonly value: T; readonly parts: readonly Entry[] } {
    const parts = new Set<Entry>()
    building.push(parts)
    try {
      return { value: build(), parts: [...parts] }
    } finally {
      building.pop()
    }
  }

  function use(entry: Entry): unknown {
    touch(entry)
    building.at(-1)?.add(entry)
    return entry.value
  }

  function touch(entry: Entry): void {
    if (entry.used === round) return
    entry.used = round
    for (const part of entry.parts) touch(part)
  }

  function sweep(): void {
    for (const [key, entry] of entries) if (entry.used < round - 1) entries.delete(key)
    round += 1
  }

  return {
    keep: (key, inputs, build) => lookUp(key, inputs, build, (_, next) => next),
    keepFor: <T>(owner: object, inputs: readonly unknown[], build: () => T) => {
      const found = owned.get(owner)
      if (found && same(found.inputs, inputs)) return use(found) as T
      return put(found, { inputs, ...gather(build) }, (fresh) => owned.set(owner, fresh)) as T
    },
    each: (key, items, making) =>
      lookUp<Rows>(
        key,
        [{}], // the rows tell whether anything changed
        (before) => rowsOf(before, items, making),
        (_, next) => next,
      ).list,
    data: (key, inputs, build) =>
      lookUp(key, inputs, build, (old, next) => (JSON.stringify(old) === JSON.stringify(next) ? old : next)),
    resource: (key, inputs, build) => lookUp(key, inputs, build, settled),
    list: (key, inputs, build) => lookUp(key, inputs, build, (old, next) => (same(old, next) ? old : next)),
    turn() {
      turns += 1
      if (sweepsDue === 0 && turns % turnsPerSweep !== 0) return
      sweepsDue = Math.max(0, sweepsDue - 1)
      sweep()
    },
    replaced: () => {
      sweepsDue = sweepsToForget
    },
    sweep,
    sweeps: () => round,
  }
}

const settled = (old: XdsResource, next: XdsResource): XdsResource =>
  old.version === next.version && old.name === next.name && old.owner === next.owner ? old : next

function rowsOf<I>(before: Rows | undefined, items: readonly I[], { shared, inputs, build }: Making<I>): Rows {
  const isShared = before !== undefined && same(before.shared, shared)
  let named: ReadonlyMap<string, XdsResource> | undefined
  const rows = items.map((item, at): Row => {
    const read = inputs(item)
    const old = before?.rows[at]
    if (isShared && old?.item === item && same(old.inputs, read)) return old
    const next = build(item)
    named ??= new Map(before?.list.map((resource) => [resource.name, resource]))
    const known = named.get(next.name)
    return { item, inputs: read, resource: known ? settled(known, next) : next }
  })
  const list = rows.map(({ resource }) => resource)
  return { shared, rows, list: before && same(before.list, list) ? before.list : list }
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, at) => value === b[at])
