import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { type ConfigEntry, clusterConfigHash, entriesOf, writtenOf } from '#mesh/wire/cluster-config.ts'

export type Configs = ReadonlyMap<ClusterName, ClusterConfig>

/** One entry that differs; `before` absent = it comes, `after` absent = it goes. */
export type EntryChange = { readonly key: string; readonly before?: ConfigEntry; readonly after?: ConfigEntry }

/** What differs for one cluster, by key in order, and the hashes of its config; '' = it has none. */
export type ConfigChange = {
  readonly cluster: ClusterName
  readonly before: string
  readonly after: string
  readonly changes: readonly EntryChange[]
}

/**
 * Which configs are others than before, and in which entries: to the byte what a publish of `after` writes over `before`.
 * Cheap where both are of one compiler, which shares what is equal.
 */
export function configChanges(before: Configs, after: Configs): ConfigChange[] {
  const clusters = [...new Set([...before.keys(), ...after.keys()])].toSorted()
  return clusters.flatMap((cluster): ConfigChange[] => {
    const [old, now] = [before.get(cluster), after.get(cluster)]
    if (old === now) return []
    const was = old ? entriesOf(old) : none
    const is = now ? entriesOf(now, old) : none
    const changes = entryChanges(was, is)
    if (changes.length === 0) return []
    return [{ cluster, before: old ? clusterConfigHash(was) : '', after: now ? clusterConfigHash(is) : '', changes }]
  })
}

const none: ReadonlyMap<string, ConfigEntry> = new Map()

function entryChanges(was: typeof none, is: typeof none): EntryChange[] {
  const gone = [...was].filter(([key]) => !is.has(key)).map(([key, before]): EntryChange => ({ key, before }))
  const others = [...is].flatMap(([key, after]): EntryChange[] => {
    const before = was.get(key)
    if (before === undefined) return [{ key, after }]
    if (before === after || writtenOf(key, before).hash === writtenOf(key, after).hash) return []
    return [{ key, before, after }]
  })
  return [...gone, ...others].toSorted((a, b) => (a.key < b.key ? -1 : 1))
}
