import type { XdsResource } from '#mesh/model/resource.ts'

/**
 * Remembers what was built from which inputs. Inputs are compared by identity: a view whose parts did not change gives
 * the same objects again, and nothing is encoded twice.
 */
export type Memo = {
  /** What `build` gave for this key the last time, where every input is still the same. */
  keep<T>(key: string, inputs: readonly unknown[], build: () => T): T
  /** The same for one resource; where other inputs give the same bytes, the older object stays. */
  resource(key: string, inputs: readonly unknown[], build: () => XdsResource): XdsResource
  /** The same for a list; where other inputs give the same members, the older list stays. */
  list<T>(key: string, inputs: readonly unknown[], build: () => readonly T[]): readonly T[]
  /** Forgets what was not asked for since the last but one call: services that are gone, proxies that left. */
  sweep(): void
}

type Entry = { inputs: readonly unknown[]; value: unknown; used: number }

export function createMemo(): Memo {
  const entries = new Map<string, Entry>()
  let round = 0

  function lookUp<T>(key: string, inputs: readonly unknown[], build: () => T, settle: (old: T, next: T) => T): T {
    const entry = entries.get(key)
    if (entry === undefined) {
      const value = build()
      entries.set(key, { inputs, value, used: round })
      return value
    }
    entry.used = round
    const old = entry.value as T
    if (same(entry.inputs, inputs)) return old
    const value = settle(old, build())
    entry.inputs = inputs
    entry.value = value
    return value
  }

  return {
    keep: (key, inputs, build) => lookUp(key, inputs, build, (_, next) => next),
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

const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, at) => value === b[at])
