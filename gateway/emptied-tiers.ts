import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Shift } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { firstTierOf, readyOf, shareMin, sharesOf } from '#mesh/translate/shares.ts'

export type EmptiedTiersParts = {
  readonly onShift: (shift: Omit<Shift, 'seq'>) => void
  /** Unix ms. */
  readonly wall: () => number
  /** Monotonic ms. */
  readonly now: () => number
}

/** Notices when the first tier of a service loses its last ready pod, and gets one again: nobody decides that. */
export type EmptiedTiers = {
  /** Counts, config or traffic may be others. */
  look(view: View): void
}

type Seen = {
  readonly from: readonly unknown[]
  /** Who serves in its place while the first tier is empty. */
  readonly below: readonly ClusterName[] | undefined
  readonly saidAt?: number
}

/** Pods that come and go are one event for each service and so long. */
const quietMs = 10_000

/** The first look is how it is, and no event. What is not said because it came too soon is said later, if it is still so. */
export function openEmptiedTiers({ onShift, wall, now }: EmptiedTiersParts): EmptiedTiers {
  let seen: ReadonlyMap<ServiceKey, Seen> | undefined
  return {
    look: (view) => {
      const next = new Map<ServiceKey, Seen>()
      for (const [key, imported] of view.config?.imports ?? []) {
        if (imported.tiers.length > 1) next.set(key, looked(view, imported, seen?.get(key)))
      }
      seen = next
    },
  }

  function looked(view: View, imported: ImportedService, before: Seen | undefined): Seen {
    const from = inputsOf(view, imported)
    if (before?.from.every((one, at) => one === from[at]) && before.from.length === from.length) return before
    const firstTier = firstTierOf(imported)
    const shares = sharesOf(view, imported)
    const ready = readyOf(view, imported).filter(({ cluster }) => firstTier.includes(cluster))
    const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)
    const counts = { ready: sum(ready.map((one) => one.ready ?? 1)), total: sum(ready.map((one) => one.total)) }
    const isServed = firstTier.some((cluster) => (shares.get(cluster) ?? 0) >= shareMin)
    // Where pods are ready and no call goes there, it is a verdict or a drain, which has events of its own.
    const isEmptied = counts.ready === 0 && !isServed && shares.size > 0
    const below = isEmptied ? [...shares.keys()].toSorted() : undefined
    if (!before) return { from, below }
    const isOther = isEmptied !== (before.below !== undefined) && (isEmptied || isServed)
    if (!isOther) return { ...before, from }
    if (before.saidAt !== undefined && now() - before.saidAt < quietMs) return { ...before, from: [] }
    const first = firstTier.toSorted()
    const [cluster] = first
    const others = below ?? before.below ?? []
    if (cluster !== undefined)
      onShift({
        ...{ at: wall(), kind: isEmptied ? 'shift' : 'return', cluster, services: [imported.key], servicesCount: 1 },
        ...(isEmptied ? { from: first, to: others } : { from: others, to: first }),
        ...{ evidence: { ready: counts }, failedMeanwhile: null },
      })
    return { from, below, saidAt: now() }
  }
}

/** Equal where the shares are. */
const inputsOf = ({ own, summaries, traffic, home }: View, imported: ImportedService): readonly unknown[] => [
  imported,
  ...[own.exports.has(imported.key), own.endpoints.get(imported.key), home],
  ...[traffic?.services.get(imported.key), traffic?.clusters],
  ...imported.sources.flatMap(({ cluster }) => [
    summaries.services.get(cluster)?.get(imported.key),
    summaries.gateways.get(cluster),
  ]),
]
