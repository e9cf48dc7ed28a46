import { z } from 'zod'
import { parseClusterName, partsOf, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import type { Latency, Load, LoadWindow, Quota } from '#mesh/model/load.ts'
import { probeResults, type Shift, shiftServicesMax } from '#mesh/model/traffic.ts'
import { named } from '#mesh/wire/named.ts'

/** Bounds of one report; its body has at most `bodyBytesMax.report` bytes all the same. */
export const loadLimits = {
  ...{ rows: 2000, gateways: 2000, latencies: 500, shares: 500, targets: 100, below: 500, health: 1000 },
  ...{ shifts: 50, acked: 20, quotas: 2000 },
} as const

const count = z.number().int().min(0)
const ms = z.number().int().min(0).max(8.64e15)
/** `<ns>/<svc>` */
export const serviceSchema = z
  .string()
  .max(127)
  .transform((text, context): ServiceKey => {
    const { namespace, name } = partsOf(text as ServiceKey)
    try {
      return serviceKey(namespace, name)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
      return z.NEVER
    }
  })
const service = serviceSchema
const cluster = named(parseClusterName)
const hash = z.string().regex(/^[0-9a-f]{64}$/)
const epoch = z.string().regex(/^[0-9a-f]{16}$/)

const probe = z.object({
  failed: count,
  of: count,
  last: z.enum(probeResults),
  forMs: z.number().min(0),
})
const evidence = z.object({
  probe: probe.exactOptional(),
  service: z
    .object({
      probe: z.string().max(1100),
      said: z.string().max(300),
      failed: count,
      of: count,
      forMs: z.number().min(0),
    })
    .exactOptional(),
  ready: z.object({ ready: count, total: count }).exactOptional(),
  ejected: count.exactOptional(),
  advice: z.enum(['drain', 'lost', 'freeze']).exactOptional(),
})

/** One move of a cluster's callers, as it is told and as it is kept. */
export const shiftSchema: z.ZodType<Shift> = z.object({
  seq: count,
  at: z.number().min(0).max(8.64e15),
  kind: z.enum(['shift', 'return', 'ramp-done', 'frozen-shift']),
  cluster,
  services: z.array(service).max(shiftServicesMax),
  servicesCount: count,
  from: z.array(cluster).max(10_000),
  to: z.array(cluster).max(10_000),
  evidence,
  failedMeanwhile: count.nullable(),
})

const place = z.object({ epoch: z.string().max(64), rev: count })

/** Looked at one by one at the centre: one that makes no sense must not void the others. */
const judged = z.record(z.string(), z.unknown())

const measured = z.object({ measured: count, notMeasured: count })
const windowMs = z.number().int().min(0).max(3_600_000)
const head = {
  epoch,
  seq: z.number().int().min(1),
  at: ms,
  adv: place.nullable(),
  cfg: place.extend({ hash }).nullable(),
  proxies: measured,
  routers: measured.exactOptional(),
}
const share = z.number().min(0).max(1)
const tail = {
  shares: z
    .array(
      z.object({
        service,
        intended: z.array(z.object({ cluster, share, wanted: share.exactOptional() })).max(loadLimits.targets),
      }),
    )
    .max(loadLimits.shares),
  below: z.array(service).max(loadLimits.below),
  health: z
    .array(z.object({ cluster, phase: z.string().max(16), percent: z.number().min(0).max(100) }))
    .max(loadLimits.health),
  reached: z.array(cluster).max(loadLimits.health).exactOptional(),
}

/**
 * `PUT /v1/clusters/{id}/load`, relay → centre: what was measured since the last window that was taken, or with `windowMs`
 * 0 and without rows what cannot wait for a window's end. (epoch, seq) is the idempotency key; the epoch is the relay's
 * process. Rows that cannot be true are refused one by one, the rest counts. Unknown fields are ignored.
 */
export const loadRequestSchema = z.object({
  ...head,
  windowMs,
  rows: z.array(judged).max(loadLimits.rows),
  rest: judged.exactOptional(),
  gateways: z.array(judged).max(loadLimits.gateways),
  latencies: z.array(judged).max(loadLimits.latencies),
  ...tail,
  /** Configs that all proxies of this relay acknowledged since, by hash, and when. */
  acked: z.array(z.object({ hash, at: ms })).max(loadLimits.acked),
  /** `seq` counts within `epoch`, which outlives the relay's process. Oldest first. */
  shifts: z.object({ epoch, list: z.array(judged).max(loadLimits.shifts) }).exactOptional(),
})
export type LoadRequest = z.infer<typeof loadRequestSchema>

const rate = z.number().min(0).max(1e9)
export const quotaSchema: z.ZodType<Quota> = z.object({
  service,
  cluster,
  requestsPerSecond: rate.exactOptional(),
  connections: rate.exactOptional(),
})

/** The part of a service's calls that may go to a cluster, as a relay keeps it. */
export const capSchema = z.object({ service, cluster, cap: z.number().min(0).max(1) })

export const loadAnswerSchema = z.object({
  /** Shifts of that epoch up to this number need not be told again; absent where none was told. */
  shiftsTaken: z.object({ epoch: z.string().max(64), seq: count }).exactOptional(),
  /** Of every capacity that this cluster's callers share with others; what is not named has none. */
  quotas: z.array(quotaSchema).max(loadLimits.quotas),
  /** When the next one is due. */
  againMs: z.number().int().min(100).max(3_600_000),
  /** Rows that were not taken, and the first of them: which, and why. */
  rejected: z.object({ count, first: z.array(z.object({ key: z.string(), reason: z.string() })) }).exactOptional(),
  /** The centre's clock, Unix ms. */
  time: z.number(),
})
export type LoadAnswer = z.infer<typeof loadAnswerSchema>

const calls = count.max(1e12)
const counts = { issued: calls, ok: calls, errors: calls, active: calls }
export const countsSchema = z.object(counts)
export const callLoadSchema = z.object({ service, callee: cluster, ...counts })
export const gatewayLoadSchema = z.object({
  address: z.string().regex(/^[\x21-\x7e]{1,300}$/, 'is no address'),
  ...{ service, issued: calls, active: calls },
})

/** Longer than an hour nobody waits for an answer. */
const tookMs = z.number().min(0).max(3_600_000)
export const latencySchema: z.ZodType<Latency> = z
  .object({ service, ...{ p50Ms: tookMs, p90Ms: tookMs, p99Ms: tookMs }, count: calls })
  .refine(({ p50Ms, p90Ms, p99Ms }) => p50Ms <= p90Ms && p90Ms <= p99Ms, 'the smaller part took longer')

const windowSchema: z.ZodType<LoadWindow> = z.object({
  ...{ windowMs, takenAt: ms, epoch },
  rows: z.array(callLoadSchema),
  rest: countsSchema.exactOptional(),
  gateways: z.array(gatewayLoadSchema),
  proxies: measured,
  routers: measured.exactOptional(),
})

const latencies = z.array(latencySchema)

/** A report of which all was found to be possible, as the centre keeps it. */
export const loadSchema: z.ZodType<Load> = z.object({
  ...head,
  window: windowSchema.exactOptional(),
  latencies,
  ...tail,
})
