import type { CallCentre } from '#gateway/uplink/call-centre.ts'
import { type Batch, differing, newOutbox, nextBatch, type Outbox } from '#gateway/uplink/outbox.ts'
import { single } from '#gateway/uplink/single.ts'
import type { Log } from '#gateway/uplink/standing.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Head, parseEpoch, rivalMsMax, type SyncAnswer, syncAnswerSchema } from '#mesh/wire/sync.ts'
import { checkVersion } from '#mesh/wire/version.ts'

export type ReporterParts = {
  readonly call: CallCentre
  readonly clusterId: string
  readonly now: () => number
  /** Eight hex digits that tell this process from any other relay's. */
  readonly instance: string
  readonly log: Log
  /** Rejects when the relay stops. */
  readonly pause: (ms: number) => Promise<void>
  readonly heartbeatMs: number
  /** While it is false a report waits for the next `sync`. */
  readonly connected: () => boolean
  /** While it is false another replica reports, and this one says nothing. */
  readonly leads: () => boolean
  readonly onHeads: (heads: readonly Head[]) => void
}

/** An item that is not told to others, and why: the centre refused it, or it is too large to be sent. */
export type RefusedItem = { readonly key: string; readonly reason: string }

/** The way up: what the centre is to know of this cluster. */
export type Reporter = {
  /** Replaces what the centre is to know; told soon. */
  report(items: ReadonlyMap<string, Json>): void
  /** Resolves when the centre knows everything that was to be told when this was called; a heartbeat where that is due. */
  sync(): Promise<void>
  /** A heartbeat now: the centre's store may have lost what it was told, and says so. */
  check(): void
  /** From now on this replica reports: everything, in an epoch after that of the one before it. */
  takeOver(): void
  toTell(): number
  refused(): readonly RefusedItem[]
  /** Another relay that reports as this cluster, as long as it may still be there. */
  rival(): Rival | undefined
}

/** A second relay with this one's membership, started on a copy of its directory: each replaces what the other tells. */
export type Rival = { readonly instance: string; readonly since: number }

const resyncMsMax = 60_000
/** How long the reports are left to a rival: doubled each time, so that both go on and neither floods the centre. */
export const rivalTimes = { waitMin: 10_000, waitMax: 5 * 60_000 } as const

/** Answers after which the same batch again cannot help: nothing of it was taken. */
const refusals: ReadonlySet<string> = new Set(['invalid', 'too-many', 'too-large', 'conflict', 'stale'])

export function openReporter(parts: ReporterParts): Reporter {
  const { now, instance, log } = parts
  let outbox: Outbox = newOutbox(now(), instance)
  let wanted: ReadonlyMap<string, Json> | undefined
  // Sent and not answered: sent again as it was, because the centre may have applied it under its number.
  let unanswered: Batch | undefined
  let syncedAt = Number.NEGATIVE_INFINITY
  let waitMs = 0
  let resyncs = 0
  let rival: (Rival & { readonly waitMs: number; readonly lastAt: number }) | undefined
  let notBefore = Number.NEGATIVE_INFINITY
  const refused = new Map<string, string>()
  const syncing = single(syncAll)

  return {
    report: (items) => {
      wanted = items
      for (const key of refused.keys()) if (!items.has(key)) refused.delete(key)
      if (parts.connected()) syncing.run()
    },
    sync: () => syncing.done(),
    check: () => {
      syncedAt = Number.NEGATIVE_INFINITY
      syncing.run()
    },
    takeOver: () => {
      rival = undefined
      notBefore = Number.NEGATIVE_INFINITY
      begin('this replica reports now')
      syncing.run()
    },
    toTell: () => (wanted && parts.leads() ? differing(outbox, wanted) : 0),
    refused: () => [...refused].map(([key, reason]) => ({ key, reason })).slice(0, 100),
    rival: () => rivalNow() && { instance: rival?.instance ?? '', since: rival?.since ?? 0 },
  }

  async function syncAll(): Promise<void> {
    while (wanted && parts.leads() && performance.now() >= notBefore) {
      const beat = performance.now() - syncedAt >= parts.heartbeatMs
      unanswered ??= nextBatch(outbox, wanted, beat)
      if (!unanswered) return
      await syncOnce(unanswered)
      await parts.pause(waitMs)
    }
  }

  async function syncOnce(batch: Batch): Promise<void> {
    try {
      taken(batch, await parts.call(`/v1/clusters/${parts.clusterId}/sync`, batch.request, syncAnswerSchema))
    } catch (error) {
      // A gap or a deposed epoch: the state of the cluster is at hand, so tell it whole rather than mend the sequence.
      const extra = error instanceof Problem && error.kind === 'conflict' ? error.extra : {}
      // Refused as it is: what is wanted by then is told next, or one batch too much would hold back all that follow.
      if (error instanceof Problem && refusals.has(error.kind)) unanswered = undefined
      if (extra['needSeq'] === undefined && extra['epochBehind'] === undefined) throw error
      replaced((error as Error).message, extra)
    }
  }

  /**
   * The centre does not take this epoch. Whoever was acknowledged in it and is told of another instance's has a rival:
   * nobody else begins a later epoch. Told anew after a while; everything else at once, and ever more slowly if it recurs.
   */
  function replaced(why: string, extra: Problem['extra']): void {
    const after = typeof extra['epoch'] === 'string' ? extra['epoch'] : outbox.epoch
    if (extra['epochAheadMs'] !== undefined)
      log.warn(
        { aheadMs: extra['epochAheadMs'] },
        'the clock of this machine was ahead, set it (NTP): all is told again',
      )
    const other = extra['epochBehind'] === undefined ? undefined : parseEpoch(after)?.instance
    if (outbox.seq === 0 || other === undefined || other === instance) {
      again(why, after)
      return
    }
    const before = rivalNow()
    const waitMs = before ? Math.min(before.waitMs * 2, rivalTimes.waitMax) : rivalTimes.waitMin
    rival = { instance: other, since: before?.since ?? now(), waitMs, lastAt: performance.now() }
    if (!before) log.warn({ instance, other }, 'another relay reports as this cluster: end one of them')
    begin(why, after)
    notBefore = performance.now() + waitMs * (0.75 + Math.random() / 2)
  }

  function rivalNow(): typeof rival {
    // A replica that another took over from is replaced as it should be.
    return rival && parts.leads() && performance.now() - rival.lastAt < rivalMsMax ? rival : undefined
  }

  function taken({ request, after, tooLarge }: Batch, answer: SyncAnswer): void {
    if (answer.proto !== undefined) checkVersion(answer.proto, 'centre')
    outbox = after
    unanswered = undefined
    syncedAt = performance.now()
    waitMs = Math.min(answer.minIntervalMs, 5000)
    noteRefused([...tooLarge, ...(answer.rejected ?? [])], request.items)
    if (answer.resync) again('the centre asked for everything')
    else if (after.complete) resyncs = 0
    if (answer.heads) parts.onHeads(answer.heads)
  }

  function noteRefused(now: readonly RefusedItem[], told: readonly { readonly k: string }[]): void {
    for (const { k } of told) refused.delete(k)
    for (const { key, reason } of now) {
      if (refused.get(key) !== reason) log.warn({ item: key, reason }, 'an item of the report is not told to others')
      refused.set(key, reason)
    }
  }

  /** Once at once; a centre that goes on asking is told ever more slowly, or a fault of ours would be a storm. */
  function again(why: string, after?: string): void {
    begin(why, after)
    if (resyncs > 0) notBefore = performance.now() + Math.min(resyncMsMax, 1000 * 2 ** resyncs)
    resyncs++
  }

  function begin(why: string, afterEpoch = outbox.epoch): void {
    log.info({ why }, 'reporting everything in a new epoch')
    outbox = newOutbox(now(), instance, afterEpoch, rivalNow()?.instance)
    unanswered = undefined
  }
}
