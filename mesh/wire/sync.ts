import { z } from 'zod'
import { reportLimits } from '#mesh/wire/report.ts'

/**
 * How an epoch of a report is written: Unix ms of its beginning in base 36, ten digits; then the instance that reports,
 * eight hex digits drawn at the start of a relay's process; then, where there is one, the instance of another relay that
 * replaced this one's epoch while both run. So the order of texts is the order of time, until the year 117,000, and who
 * reads an epoch knows whether two relays share one membership.
 */
const epochPattern = /^([0-9a-z]{10})-([0-9a-f]{8})(?:-([0-9a-f]{8}))?$/
const stampOf = (at: number): string => at.toString(36).padStart(10, '0')

/** Two relays that report as one cluster replace each other at least so often; after it, one of them is taken to be gone. */
export const rivalMsMax = 15 * 60_000

export type Epoch = { readonly startedAt: number; readonly instance: string; readonly rival?: string }

/** `instance` and `rival`: eight hex digits each. */
export const formatEpoch = (startedAt: number, instance: string, rival?: string): string =>
  [stampOf(startedAt), instance, ...(rival === undefined ? [] : [rival])].join('-')

export function parseEpoch(text: string): Epoch | undefined {
  const [, stamp, instance, rival] = epochPattern.exec(text) ?? []
  if (stamp === undefined || instance === undefined) return undefined
  return { startedAt: Number.parseInt(stamp, 36), instance, ...(rival === undefined ? {} : { rival }) }
}
export const isEpoch = (text: string): boolean => parseEpoch(text) !== undefined

/** Twice what the clock of a relay may be off when it asks for a token: whoever gets one is not refused for this. */
export const epochAheadMsMax = 10 * 60_000

/** By how much an epoch began after `now`; undefined where that is within what clocks differ. */
export function epochAheadMs(epoch: string, now: number): number | undefined {
  const aheadMs = Number.parseInt(epoch.slice(0, 10), 36) - now
  return aheadMs > epochAheadMsMax ? aheadMs : undefined
}

/**
 * `POST /v1/clusters/{id}/sync`, relay → centre. `seq` is contiguous within an `epoch` and is the idempotency key: the
 * same (epoch, seq) again answers as the first time. A relay that lost its outbox starts a new epoch: everything it has
 * is sent with seq 1, 2, …, and the last part says `complete: true`; only then what the new epoch did not name is gone.
 * Until then nothing is taken away (unknown is not empty). Epochs are compared as text: a later one sorts after. `root` is the additive root of all the relay's items after
 * this batch; the centre compares and answers `resync: true` where it differs. An empty batch is a heartbeat.
 * Unknown fields are ignored.
 */
export const syncRequestSchema = z.object({
  proto: z.string().max(32),
  epoch: z
    .string()
    .regex(
      epochPattern,
      'is no epoch: ten base 36 digits of its beginning, "-", eight hex digits, and perhaps eight more',
    ),
  seq: z.number().int().min(1),
  items: z
    .array(
      z.object({ k: z.string().min(1).max(reportLimits.keyBytes), v: z.record(z.string(), z.unknown()).nullable() }),
    )
    .max(reportLimits.items),
  root: z.string().regex(/^[0-9a-f]{64}$/),
  /** Ends the first full report of an epoch. */
  complete: z.boolean().optional(),
  urgent: z.boolean().optional(),
})
export type SyncRequest = z.infer<typeof syncRequestSchema>

/** [stream, epoch, revision] */
export const headSchema = z.tuple([z.string().max(200), z.string().max(64), z.number().int().nonnegative()])
export type Head = z.infer<typeof headSchema>

export const syncAnswerSchema = z.object({
  appliedSeq: z.number().int().nonnegative(),
  minIntervalMs: z.number().int().nonnegative(),
  /** True: start a new epoch and report everything. */
  resync: z.boolean().optional(),
  rejected: z.array(z.object({ key: z.string(), reason: z.string() })).optional(),
  /** Heads of the streams that the cluster reads: what it lacks, it pulls. */
  heads: z.array(headSchema).optional(),
  /** What the centre speaks; absent from an older one. */
  proto: z.string().max(32).optional(),
  /** The centre's clock, Unix ms. */
  time: z.number(),
})
export type SyncAnswer = z.infer<typeof syncAnswerSchema>
// A sync with a gap is the problem `conflict` with extra.needSeq; a deposed epoch is `conflict` with extra.epochBehind; one
// ahead of the centre's clock is `conflict` with extra.epochAheadMs, extra.time and extra.needSeq 1: everything is to be
// told in a new epoch, after extra.epoch.
