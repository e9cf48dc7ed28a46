import type { ClusterName } from '#mesh/model/id.ts'

/**
 * How much of a capacity each caller may use: max-min fair. Who wants little has it, and the others share the rest alike,
 * so that whoever asks for too much gets at most what any other who asks for too much gets. What nobody asks for is given
 * to all alike: a caller may grow into it before the next allotment. Together exactly the capacity.
 *
 * `demands`: all who call; infinite where it is not known. Never throws; what is below 0 or no number counts as 0.
 * Source: max-min fairness, Bertsekas and Gallager, Data Networks §6.5.2.
 */
export function allot(capacity: number, demands: ReadonlyMap<ClusterName, number>): ReadonlyMap<ClusterName, number> {
  const wanted = [...demands]
    .map(([cluster, demand]) => ({ cluster, demand: Number.isNaN(demand) ? 0 : Math.max(0, demand) }))
    .toSorted((a, b) => a.demand - b.demand || (a.cluster < b.cluster ? -1 : 1))
  let rest = capacity
  const given = wanted.map(({ cluster, demand }, at): [ClusterName, number] => {
    const part = Math.min(demand, rest / (wanted.length - at))
    rest -= part
    return [cluster, part]
  })
  return new Map(given.map(([cluster, part]) => [cluster, part + Math.max(0, rest) / given.length]))
}
