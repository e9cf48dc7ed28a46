import { join } from 'node:path'
import { z } from 'zod'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import type { Cap } from '#gateway/traffic-keeper.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { CallLoad, Quota } from '#mesh/model/load.ts'
import { type Demand, demandIn } from '#mesh/policy/demand.ts'
import { capSchema, quotaSchema } from '#mesh/wire/load.ts'

/**
 * Of each service with capacities the part of its calls that a cluster may be given: its quota over what is called in
 * all. The last quotas stand for as long as the centre says no others, for ever where it is away, and outlive the relay.
 */
export type LoadCaps = {
  /** All quotas there are. */
  quotas(list: readonly Quota[]): void
  /** What was measured in a window; gives the caps from now on. One moves by ten points a window at most. */
  measured(rows: readonly CallLoad[], windowMs: number): readonly Cap[]
  caps(): readonly Cap[]
}

const stepMax = 0.1
/** Demand is smoothed: over so long a change counts for two thirds. */
const smoothMs = 10_000

const keptSchema = z.object({ version: z.literal(1), quotas: z.array(quotaSchema), caps: z.array(capSchema) })

export function openLoadCaps(parts: {
  readonly stateDir: string
  readonly config: () => ClusterConfig | undefined
  readonly warn: (text: string) => void
}): LoadCaps {
  const path = join(parts.stateDir, 'load.json')
  const kept = loadKept(path, (body) => keptSchema.parse(body), parts.warn)
  let quotas: readonly Quota[] = kept?.quotas ?? []
  let caps: readonly Cap[] = kept?.caps ?? []
  let saved = JSON.stringify([quotas, caps])
  const demands = new Map<ServiceKey, Demand>()
  return {
    quotas: (list) => {
      quotas = list
      keep()
    },
    measured: (rows, windowMs) => {
      const standing = quotas.filter((quota) => hasCapacity(parts.config(), quota))
      const services = new Set(standing.map(({ service }) => service))
      for (const service of demands.keys()) if (!services.has(service)) demands.delete(service)
      for (const service of services)
        demands.set(service, smoothed(demands.get(service), demandIn({ rows, windowMs }, service), windowMs))
      caps = standing.flatMap((quota) => {
        const before = caps.find((cap) => cap.service === quota.service && cap.cluster === quota.cluster)?.cap ?? 1
        const cap = stepped(before, targetOf(quota, demands.get(quota.service)))
        return cap < 1 ? [{ service: quota.service, cluster: quota.cluster, cap }] : []
      })
      keep()
      return caps
    },
    caps: () => caps,
  }

  function keep(): void {
    const text = JSON.stringify([quotas, caps])
    if (text === saved) return
    saved = text
    saveKept(path, { version: 1, quotas, caps }, parts.warn)
  }
}

/** A policy that no longer limits a cluster counts at once, although the centre is not there to take its quota back. */
const hasCapacity = (config: ClusterConfig | undefined, { service, cluster }: Quota): boolean =>
  config?.imports
    .get(service)
    ?.tiers.some(({ members }) => members.some((one) => one.cluster === cluster && one.capacity !== undefined)) ?? false

function smoothed(before: Demand | undefined, now: Demand, windowMs: number): Demand {
  if (!before) return now
  const part = 1 - Math.exp(-windowMs / smoothMs)
  const mix = (a: number, b: number): number => a + (b - a) * part
  return {
    requestsPerSecond: mix(before.requestsPerSecond, now.requestsPerSecond),
    connections: mix(before.connections, now.connections),
  }
}

/** The least of what the quota allows; everything where nobody calls. */
function targetOf(quota: Quota, demand: Demand | undefined): number {
  const part = (allowed: number | undefined, wanted: number): number =>
    allowed === undefined || wanted <= allowed ? 1 : allowed / wanted
  const { requestsPerSecond, connections } = demand ?? { requestsPerSecond: 0, connections: 0 }
  return Math.min(part(quota.requestsPerSecond, requestsPerSecond), part(quota.connections, connections))
}

const stepped = (before: number, target: number): number =>
  Math.min(before + stepMax, Math.max(before - stepMax, target))
