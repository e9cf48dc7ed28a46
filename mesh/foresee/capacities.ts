import { type Demand, type Demands, demandOf } from '#mesh/foresee/demand.ts'
import type { Caller, Outlook } from '#mesh/foresee/outlook.ts'
import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { Capacity } from '#mesh/model/traffic-policy.ts'
import { allot } from '#mesh/policy/allot.ts'

/** A cluster that calls a service, and where its calls go. */
export type Calling = { readonly caller: Caller; readonly imported: ImportedService; readonly outlook: Outlook }

/** A capacity that is less than what all callers together would ask of it. */
export type Overload = {
  readonly cluster: ClusterName
  readonly of: keyof Capacity
  readonly capacity: number
  /** If nothing held them back. */
  readonly asked: number
  /** What it would be given all the same, as nobody else has room; no more than the capacity where others do. */
  readonly given: number
}

/** By caller, then callee: the most of the caller's calls that the callee takes, 0..1. */
export type Caps = Map<ClusterName, Map<ClusterName, number>>

const units = ['requestsPerSecond', 'connections'] as const satisfies readonly (keyof Demand)[]

/** Noise of rounding is no overload. */
const roomFactor = 1.001

/** What the callers of one service ask of each cluster that says what it is able to take; measured ones only. */
export function askedOf(
  callings: readonly Calling[],
  cluster: ClusterName,
  demands: Demands,
): { readonly sums: Demand; readonly notMeasured: readonly ClusterName[] } {
  const sums = { requestsPerSecond: 0, connections: 0 }
  const notMeasured: ClusterName[] = []
  for (const { caller, imported, outlook } of callings) {
    const share = outlook.shares.get(cluster) ?? 0
    if (share === 0) continue
    const demand = demandOf(demands, caller.cluster, imported.key)
    if (!demand) notMeasured.push(caller.cluster)
    for (const of of units) sums[of] += (demand?.[of] ?? 0) * share
  }
  return { sums, notMeasured }
}

export type Overloads = { readonly overloads: readonly Overload[]; readonly notMeasured: readonly ClusterName[] }

/**
 * The callings once capacities are kept: what a cluster is not able to take of all its callers is divided among them as
 * quotas are, and the rest of each goes on as `spread` says. A capacity of which nothing is known that would exceed it
 * holds nobody back.
 */
export function withinCapacities(
  first: readonly Calling[],
  demands: Demands,
  again: (calling: Calling, caps: ReadonlyMap<ClusterName, number>) => Outlook,
): { readonly callings: readonly Calling[] } & Overloads {
  const capacities = capacitiesOf(first)
  if (capacities.size === 0) return { callings: first, overloads: [], notMeasured: [] }
  const notMeasured = new Set<ClusterName>()
  for (const cluster of capacities.keys())
    for (const one of askedOf(first, cluster, demands).notMeasured) notMeasured.add(one)
  const caps: Caps = new Map()
  const exceeded = new Map<ClusterName, Demand>()
  let callings = first
  // What one gives away may be too much for the next: each is capped once.
  for (;;) {
    const over = [...capacities].filter(([cluster, capacity]) => {
      const { sums } = askedOf(callings, cluster, demands)
      const isOver = !exceeded.has(cluster) && units.some((of) => sums[of] > (capacity[of] ?? Infinity) * roomFactor)
      if (isOver) exceeded.set(cluster, sums)
      return isOver
    })
    if (over.length === 0) break
    for (const [cluster, capacity] of over) cap(caps, { cluster, capacity, callings, demands })
    callings = first.map((calling) => {
      const own = caps.get(calling.caller.cluster)
      return own ? { ...calling, outlook: again(calling, own) } : calling
    })
  }
  const overloads = [...exceeded].flatMap(([cluster, asked]) => {
    const { sums } = askedOf(callings, cluster, demands)
    const capacity = capacities.get(cluster) ?? {}
    return units.flatMap((of): Overload[] => {
      const most = capacity[of]
      return most === undefined || asked[of] <= most
        ? []
        : [{ cluster, of, capacity: most, asked: asked[of], given: sums[of] <= most * roomFactor ? most : sums[of] }]
    })
  })
  return { callings, overloads, notMeasured: [...notMeasured].toSorted() }
}

function cap(
  caps: Caps,
  over: {
    readonly cluster: ClusterName
    readonly capacity: Capacity
    readonly callings: readonly Calling[]
    readonly demands: Demands
  },
): void {
  const { cluster, capacity, callings, demands } = over
  for (const of of units) {
    const most = capacity[of]
    if (most === undefined) continue
    const wanted = callings.map(({ caller, imported, outlook }) => {
      const demand = demandOf(demands, caller.cluster, imported.key)?.[of]
      const share = outlook.shares.get(cluster) ?? 0
      return { caller: caller.cluster, demand, asked: demand === undefined ? Infinity : demand * share }
    })
    const parts = allot(most, new Map(wanted.map(({ caller, asked }) => [caller, asked])))
    for (const { caller, demand, asked } of wanted) {
      const part = parts.get(caller) ?? 0
      if (demand === undefined || demand === 0 || asked <= part) continue
      const own = caps.get(caller) ?? new Map<ClusterName, number>()
      caps.set(caller, own.set(cluster, Math.min(own.get(cluster) ?? 1, part / demand)))
    }
  }
}

/** Where policies of callers say different things of one cluster, the least counts. */
function capacitiesOf(callings: readonly Calling[]): ReadonlyMap<ClusterName, Capacity> {
  const found = new Map<ClusterName, Capacity>()
  for (const imported of new Set(callings.map((one) => one.imported)))
    for (const { cluster, capacity } of imported.tiers.flatMap(({ members }) => members))
      if (capacity) found.set(cluster, least(found.get(cluster), capacity))
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function least(a: Capacity = {}, b: Capacity): Capacity {
  const min = (of: keyof Capacity) => {
    const [one, other] = [a[of], b[of]]
    const value = one === undefined ? other : Math.min(one, other ?? one)
    return value === undefined ? {} : { [of]: value }
  }
  return { ...min('requestsPerSecond'), ...min('connections') }
}
