import { serviceOf } from '#gateway/envoy-service.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { addedBuckets, type Buckets, countOf, percentileIn } from '#mesh/model/latency.ts'
import type { Latency } from '#mesh/model/load.ts'
import { loadLimits } from '#mesh/wire/load.ts'

/** How long the calls of the own proxies took in the last minute, by service. */
export type Latencies = {
  /** What one proxy counted since it last told. */
  take(told: readonly { readonly cluster: string; readonly counts: Buckets }[]): void
  /** Of services with most calls first; a service that is not in it is not measured, or was not called. */
  list(): readonly Latency[]
}

/** Proxies tell every half minute: in so long each has told at least once. */
const slotMs = 10_000
const slotsMax = 6
/** No proxy makes more calls in half a minute that take as long; one that says so is not believed. */
const countMax = 1e8
/** Of so many services is counted in a slot: a list has room for a quarter of them. */
const servicesMax = 2000

type Slot = { readonly number: number; readonly counts: Map<ServiceKey, Buckets> }

/** `config`: what is in force. What is no import of it is not counted. */
export function openLatencies(
  config: () => ClusterConfig | undefined,
  now: () => number = () => performance.now(),
): Latencies {
  let slots: readonly Slot[] = []
  return {
    take: (told) => {
      const { counts: sums } = slotNow()
      for (const { cluster, counts } of told) {
        const service = serviceOf(cluster)
        if (service === undefined || !config()?.imports.has(service)) continue
        if (!counts.every((count) => Number.isInteger(count) && count >= 0 && count <= countMax)) continue
        if (sums.size < servicesMax || sums.has(service))
          sums.set(service, addedBuckets(sums.get(service) ?? [], counts))
      }
    },
    list: () => {
      const sums = new Map<ServiceKey, Buckets>()
      for (const { counts } of fresh())
        for (const [service, more] of counts) sums.set(service, addedBuckets(sums.get(service) ?? [], more))
      return [...sums]
        .map(([service, buckets]) => latencyOf(service, buckets))
        .filter(({ count }) => count > 0)
        .toSorted((a, b) => b.count - a.count)
        .slice(0, loadLimits.latencies)
    },
  }

  function fresh(): readonly Slot[] {
    const oldest = Math.floor(now() / slotMs) - slotsMax
    return slots.filter(({ number }) => number > oldest)
  }

  function slotNow(): Slot {
    const number = Math.floor(now() / slotMs)
    const kept = fresh()
    const last = kept.at(-1)
    const slot = last?.number === number ? last : { number, counts: new Map<ServiceKey, Buckets>() }
    slots = slot === last ? kept : [...kept, slot]
    return slot
  }
}

const latencyOf = (service: ServiceKey, buckets: Buckets): Latency => {
  const at = (part: number): number => Math.round(percentileIn(buckets, part) * 10) / 10
  return { service, p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99), count: countOf(buckets) }
}
