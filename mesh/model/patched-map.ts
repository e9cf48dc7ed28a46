type Parts<K, V> = { readonly base: ReadonlyMap<K, V>; readonly values: ReadonlyMap<K, V> }

/** Beyond it a copy is cheaper than to look twice. */
const patchMax = 32

/** Maps that are another one with some values put into it, each with that other one and those values. */
const patches = new WeakMap<ReadonlyMap<unknown, unknown>, Parts<unknown, unknown>>()

const partsOf = <K, V>(map: ReadonlyMap<K, V>): Parts<K, V> =>
  (patches.get(map) as Parts<K, V> | undefined) ?? { base: map, values: new Map<K, V>() }

/**
 * A map with the keys of `old`, in their order, and the values of `changes` (whose keys are all in `old`) put in. It shares
 * what did not change with `old`: copying the hundreds of entries of each of a hundred maps for one that differs would cost
 * more than all else that is done for that one.
 */
export function patchedMap<K, V>(old: ReadonlyMap<K, V>, changes: ReadonlyMap<K, V>): ReadonlyMap<K, V> {
  const known = partsOf(old)
  const { base } = known
  const values = new Map([...known.values, ...changes])
  if (values.size > patchMax) return new Map([...base].map(([key, value]) => [key, values.get(key) ?? value]))
  const entries = () => base.entries().map(([key, value]): [K, V] => [key, values.get(key) ?? value])
  const map: ReadonlyMap<K, V> = {
    size: base.size,
    get: (key) => values.get(key) ?? base.get(key),
    has: (key) => base.has(key),
    keys: () => base.keys(),
    values: () => entries().map(([, value]) => value),
    entries,
    forEach: (work) => {
      for (const [key, value] of entries()) work(value, key, map)
    },
    [Symbol.iterator]: entries,
  }
  patches.set(map, { base, values })
  return map
}

/** The values of `now` that are not those of `before`; of maps that were patched from one, only what was put in is looked at. */
export function changedValues<K, V>(now: ReadonlyMap<K, V>, before: ReadonlyMap<K, V>): readonly V[] {
  if (now === before) return []
  const [a, b] = [partsOf(now), partsOf(before)]
  const keys = a.base === b.base ? new Set([...a.values.keys(), ...b.values.keys()]) : now.keys()
  return [...keys].flatMap((key) => {
    const value = now.get(key)
    return value !== undefined && value !== before.get(key) ? [value] : []
  })
}
