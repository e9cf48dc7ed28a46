/** Proxies of one cluster subscribe to the same few hundred names: equal sets are held once, for all of them. */
type Names = ReadonlySet<string>

const shared = new Map<string, WeakRef<Names>>()
const sharedSets = new WeakSet<Names>()

/** True where nobody changes it any more. */
export const isShared = (names: Names): boolean => sharedSets.has(names)

/** Smaller sets are not worth the search. */
const worthSharing = 16

/** The set as one that may be changed: a copy where others hold it too. */
export const changeable = (names: Names): Set<string> => (isShared(names) ? new Set(names) : (names as Set<string>))

/** The set that all hold who have the same names in the same order. From then on it is changed by nobody. */
export function share(names: Names): Names {
  if (names.size < worthSharing || isShared(names)) return names
  const key = `${names.size} ${names.values().next().value}`
  const known = shared.get(key)?.deref()
  if (known?.isSubsetOf(names) && known.size === names.size) return known
  for (const [other, set] of shared) if (set.deref() === undefined) shared.delete(other)
  shared.set(key, new WeakRef(names))
  sharedSets.add(names)
  return names
}

/** The same text without the message that it was read from. */
export const ownCopy = (text: string): string => Buffer.from(text).toString()
