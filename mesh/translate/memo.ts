import type { XdsResource } from '#mesh/model/resource.ts'

/**
 * Remembers what was built from which inputs. Inputs are compared by identity: a view whose parts did not change gives
 * the same objects again, and nothing is encoded twice.
 */
export type Memo = {
  /** What `build` gave for this key the last time, where every input is still the same; `build` is told what that was. */
  keep<T>(key: string, inputs: readonly unknown[], build: (before: T | undefined) => T): T
  /** The same for plain data; where other inputs give equal data (a config read anew), the older object stays. */
  data<T>(key: string, inputs: readonly unknown[], build: () => T): T
  /** The same for one resource; where other inputs give the same bytes, the older object stays. */
  resource(key: string, inputs: readonly unknown[], build: () => XdsResource): XdsResource
  /** The same for a list; where other inputs give the same members, the older list stays. */
  list<T>(key: string, inputs: readonly unknown[], build: () => readonly T[]): readonly T[]
  /** Forgets what was not asked for since the last but one call: services that are gone, proxies that left. */
  sweep(): void
}

type Entry = {
  inputs: readonly unknown[]
  value: unknown
  used: number
  /** What was asked for while this was built: as long as this is used, so are they. */
  parts: readonly Entry[]
}

export function createMemo(): Memo {
  const entries = new Map<string, Entry>()
  const building: Set<Entry>[] = []
  let round = 0

  function lookUp<T>(
    key: string,
    inputs: readonly unknown[],
    build: (before: T | undefined) => T,
    settle: (old: T, next: T) => T,
  ): T {
    const found = entries.get(key)
    if (found && same(found.inputs, inputs)) {
      touch(found)
      building.at(-1)?.add(found)
      return found.value as T
    }
    const parts = new Set<Entry>()
    building.push(parts)
    try {
      const next = build(found?.value as T | undefined)
      const value = found ? settle(found.value as T, next) : next
      const entry: Entry = found ?? { inputs, value, used: round, parts: [] }
      Object.assign(entry, { inputs, value, used: round, parts: [...parts] })
      entries.set(key, entry)
      building.at(-2)?.add(entry)
      return value
    } finally {
      building.pop()
    }
  }

  function touch(entry: Entry): void {
    if (entry.used === round) return
    entry.used = round
    for (const part of entry.parts) touch(part)
  }

  return {
    keep: (key, inputs, build) => lookUp(key, inputs, build, (_, next) => next),
    data: (key, inputs, build) =>
      lookUp(key, inputs, build, (old, next) => (JSON.stringify(old) === JSON.stringify(next) ? old : next)),
    resource: (key, inputs, build) =>
      lookUp(key, inputs, build, (old, next) =>
        old.version === next.version && old.name === next.name && old.owner === next.owner ? old : next,
      ),
    list: (key, inputs, build) => lookUp(key, inputs, build, (old, next) => (same(old, next) ? old : next)),
    sweep() {
      for (const [key, entry] of entries) if (entry.used < round - 1) entries.delete(key)
      round += 1
    },
  }
}

const serials = new WeakMap<object, number>()
let lastSerial = 0

/** A short key for an object that stays the same one. */
export function serialOf(object: object): number {
  const known = serials.get(object)
  if (known !== undefined) return known
  lastSerial += 1
  serials.set(object, lastSerial)
  return lastSerial
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, at) => value === b[at])
