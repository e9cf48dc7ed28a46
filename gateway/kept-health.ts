import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import { parseClusterName, serviceKey } from '#mesh/model/id.ts'
import type { Shift } from '#mesh/model/traffic.ts'
import type { KeptCluster } from '#mesh/policy/kept-health.ts'

/** What of other clusters' health outlives a relay, and what of it is still to be told. */
export type KeptHealth = {
  /** Unix ms. */
  readonly savedAt: number
  readonly clusters: readonly KeptCluster[]
  /** With `seq` says which shift is meant, for as long as this file lives. */
  readonly epoch: string
  readonly seq: number
  readonly untold: readonly Shift[]
}

const ms = z.number().min(0)
const count = z.number().int().min(0)
const cluster = z.string().transform(parseClusterName)
const probe = z.object({
  failed: count,
  of: count,
  last: z.enum(['ok', 'refused', 'timeout', 'reset', 'trust']),
  forMs: ms,
})
const parseKey = (text: string) => {
  const [namespace = '', name = ''] = text.split('/', 2)
  return serviceKey(namespace, name)
}
const evidence = z.object({
  probe: probe.exactOptional(),
  ready: z.object({ ready: count, total: count }).exactOptional(),
  ejected: count.exactOptional(),
  advice: z.enum(['drain', 'lost', 'freeze']).exactOptional(),
})
const shift = z.object({
  seq: count,
  at: ms,
  kind: z.enum(['shift', 'return', 'ramp-done', 'frozen-shift']),
  cluster,
  services: z.array(z.string().transform(parseKey)),
  servicesCount: count,
  from: z.array(cluster),
  to: z.array(cluster),
  evidence,
  failedMeanwhile: count.nullable(),
})
const keptSchema = z.object({
  version: z.literal(1),
  savedAt: ms,
  epoch: z.string().regex(/^[0-9a-f]{16}$/),
  seq: count,
  clusters: z.array(
    z.object({
      cluster,
      phase: z.enum(['in', 'out', 'holding', 'returned']),
      flaps: count.max(64),
      sinceMs: ms,
      goodMs: ms.exactOptional(),
      returnedMs: ms.exactOptional(),
      quietMs: ms.exactOptional(),
      evidence: probe.exactOptional(),
    }),
  ),
  untold: z.array(shift),
})

/** Nothing kept: all clusters are in, and Envoy's own reflex bridges the seconds until something else is known. */
export function loadHealth(path: string, now: number, warn: (text: string) => void): KeptHealth {
  return (
    loadKept(path, (body): KeptHealth => keptSchema.parse(body), warn) ?? {
      ...{ savedAt: now, clusters: [], epoch: randomBytes(8).toString('hex'), seq: 0, untold: [] },
    }
  )
}

export function saveHealth(path: string, kept: KeptHealth, warn: (text: string) => void): void {
  saveKept(path, { version: 1, ...kept }, warn)
}
