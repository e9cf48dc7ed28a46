import { z } from 'zod'
import { headSchema } from '#mesh/wire/sync.ts'

/**
 * One text frame of `GET /v1/watch` (WebSocket), centre → relay. Hints are advice: they may be lost, doubled or
 * reordered, and nothing depends on them. `n` counts the frames of one connection; a jump means some were lost: pull.
 * `delta` is base64 of gzip of JSON StreamDelta[], at most 24 KB; applied only where epoch equals and from ≤ have < to.
 */
export const hintSchema = z.object({
  n: z.number().int().nonnegative(),
  heads: z.array(headSchema),
  delta: z.string().optional(),
  urgent: z.boolean().optional(),
})
export type Hint = z.infer<typeof hintSchema>

/** First client frame. */
export const helloSchema = z.object({ proto: z.string().max(32) })

export const inlineDeltaBytesMax = 24 * 1024
export const keepaliveMs = 4 * 60_000
