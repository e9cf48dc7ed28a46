import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { peakKey } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import type { Counted } from '#mesh/policy/spread.ts'

/** The pods of one port of a service in one cluster, as this relay knows them. */
export function countedIn(view: View, cluster: ClusterName, key: ServiceKey, port: number): Counted {
  if (cluster === view.home.cluster) return ownCounted(view, key, port)
  const counts = view.summaries.services
    .get(cluster)
    ?.get(key)
    ?.counts.filter((one) => one.port === port)
  if (!counts) return { ready: undefined, total: 0 }
  return { ready: sumOf(counts.map(({ ready }) => ready)), total: sumOf(counts.map(({ total }) => total)) }
}

function ownCounted({ own }: View, key: ServiceKey, port: number): Counted {
  const name = own.services.get(key)?.ports.find((one) => one.port === port)?.name
  const pods = (own.endpoints.get(key) ?? []).filter(({ ports }) => name !== undefined && ports[name] !== undefined)
  const meant = pods.filter(({ health }) => health !== 'draining')
  return { ready: meant.filter(({ health }) => health === 'ready').length, total: meant.length }
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0)

/** The most pods that were ready in the last ten minutes, of services with a policy, where that is more than now. */
export type Peaks = {
  /** Counts are others, or time went on. The same map as before while it is equal. */
  look(view: View): ReadonlyMap<string, number>
}

const spans = 10
const spanMs = 60_000

/** By minutes: a peak is forgotten ten to eleven minutes after it was seen. */
export function openPeaks(now: () => number = () => performance.now()): Peaks {
  const seen = new Map<string, Map<number, number>>()
  let peaks: ReadonlyMap<string, number> = new Map()
  return {
    look: (view) => {
      const at = Math.floor(now() / spanMs)
      const next = new Map<string, number>()
      const met = new Set<string>()
      for (const { key, policy, sources } of view.config?.imports.values() ?? []) {
        if (!policy) continue
        for (const { cluster, ports } of sources) {
          for (const port of ports) {
            const { ready } = countedIn(view, cluster, key, port)
            const name = peakKey(cluster, key, port)
            met.add(name)
            const spansOf = seen.get(name) ?? new Map<number, number>()
            seen.set(name, spansOf)
            for (const span of spansOf.keys()) if (span < at - spans) spansOf.delete(span)
            if (ready !== undefined) spansOf.set(at, Math.max(ready, spansOf.get(at) ?? 0))
            const peak = Math.max(0, ...spansOf.values())
            if (peak > (ready ?? peak)) next.set(name, peak)
          }
        }
      }
      for (const name of seen.keys()) if (!met.has(name)) seen.delete(name)
      if (next.size !== peaks.size || [...next].some(([name, peak]) => peaks.get(name) !== peak)) peaks = next
      return peaks
    },
  }
}
