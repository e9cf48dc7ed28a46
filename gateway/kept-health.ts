import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import { probeResults, type Shift } from '#mesh/model/traffic.ts'
import type { KeptCluster, KeptService } from '#mesh/policy/kept-health.ts'
import { serviceSchema, shiftSchema } from '#mesh/wire/load.ts'

/** What of other clusters' health outlives a relay, and what of it is still to be told. */
export type KeptHealth = {
  /** Unix ms. */
  readonly savedAt: number
  readonly clusters: readonly KeptCluster[]
  /** By service that is probed. */
  readonly services: readonly KeptService[]
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
  last: z.enum(probeResults),
  forMs: ms,
  said: z.string().exactOptional(),
  inRow: count.exactOptional(),
})
const clusters = z.array(
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
)
const keptSchema = z.object({
  version: z.literal(1),
  savedAt: ms,
  epoch: z.string().regex(/^[0-9a-f]{16}$/),
  seq: count,
  clusters,
  // A relay of before knew none.
  services: z.array(z.object({ service: serviceSchema, probe: z.string(), name: z.string(), clusters })).default([]),
  untold: z.array(shiftSchema),
})

/** Nothing kept: all clusters are in, and Envoy's own reflex bridges the seconds until something else is known. */
export function loadHealth(path: string, now: number, warn: (text: string) => void): KeptHealth {
  return (
    loadKept(path, (body): KeptHealth => keptSchema.parse(body), warn) ?? {
      ...{ savedAt: now, clusters: [], services: [], epoch: randomBytes(8).toString('hex'), seq: 0, untold: [] },
    }
  )
}

export function saveHealth(path: string, kept: KeptHealth, warn: (text: string) => void): void {
  saveKept(path, { version: 1, ...kept }, warn)
}
