import { compile } from '#mesh/compile/compile.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import { entriesOf } from '#mesh/wire/cluster-config.ts'

/** What one change would do to one cluster's config: keys of its entries. */
export type ConfigChange = {
  readonly cluster: string
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
}

/** Which configs one fleet gives that another does not: the same compiler, once on each. */
export function configChanges(before: Fleet, after: Fleet): ConfigChange[] {
  const old = compile(before)
  const changes: ConfigChange[] = []
  for (const [cluster, config] of compile(after)) {
    const next = entriesOf(config)
    const known = old.get(cluster)
    const last = known ? entriesOf(known) : new Map<string, never>()
    const text = (entries: ReadonlyMap<string, unknown>, k: string) => JSON.stringify(entries.get(k))
    const added = [...next.keys()].filter((k) => !last.has(k))
    const removed = [...last.keys()].filter((k) => !next.has(k))
    const changed = [...next.keys()].filter((k) => last.has(k) && text(last, k) !== text(next, k))
    if (added.length + removed.length + changed.length > 0) changes.push({ cluster, added, removed, changed })
  }
  return changes
}
