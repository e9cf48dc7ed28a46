import { z } from 'zod'
import { headSchema } from '#mesh/wire/sync.ts'

/**
 * `POST /v1/pull`, relay → centre: the truth of the channel. `have` lists the streams the relay holds; the answer names
 * every stream that the cluster may read and that differs. A stream absent from `have` comes whole. With `waitMs` and
 * nothing new the centre may hold the request that long (long-poll form).
 */
export const pullRequestSchema = z.object({
  proto: z.string().max(32),
  have: z.array(headSchema).max(10_000),
  /** For each of `have` how the root of what is held begins: a revision that a restored store gave out twice is noticed. */
  roots: z
    .array(z.string().regex(/^[0-9a-f]{0,64}$/))
    .max(10_000)
    .optional(),
  /** Continues pages: `next` values of the previous answer, by stream. */
  next: z.record(z.string(), z.string().max(600)).optional(),
  waitMs: z.number().int().min(0).max(30_000).optional(),
})
export type PullRequest = z.infer<typeof pullRequestSchema>

const streamItemSchema = z.object({
  k: z.string().max(300),
  /** null = gone. */
  v: z.record(z.string(), z.unknown()).nullable(),
})
export type StreamItem = z.infer<typeof streamItemSchema>

/**
 * `delta`: `items` lead from revision `from` to `to`. `snapshot`: they are the whole stream at `to`; what is not among
 * them is gone. With `next` the page is not the last: nothing is applied before the last page of that stream has come.
 * `root` is the additive root of the stream at `to`.
 */
export const streamDeltaSchema = z.object({
  stream: z.string().max(200),
  epoch: z.string().max(64),
  from: z.number().int().nonnegative(),
  to: z.number().int().nonnegative(),
  mode: z.enum(['delta', 'snapshot']),
  items: z.array(streamItemSchema),
  next: z.string().optional(),
  root: z.string().regex(/^[0-9a-f]{64}$/),
})
export type StreamDelta = z.infer<typeof streamDeltaSchema>

export const pullAnswerSchema = z.object({
  streams: z.array(streamDeltaSchema),
  /** Streams in `have` that the cluster may no longer read: to be forgotten. */
  gone: z.array(z.string()),
  /** What the centre speaks; absent from an older one. */
  proto: z.string().max(32).optional(),
  time: z.number(),
})
export type PullAnswer = z.infer<typeof pullAnswerSchema>
