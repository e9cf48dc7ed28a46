import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { centreClient } from '#gateway/uplink/centre-client.ts'
import { openHints } from '#gateway/uplink/hints.ts'
import type { Membership, RelayKey } from '#gateway/uplink/membership.ts'
import { type Batch, newOutbox, nextBatch, type Outbox } from '#gateway/uplink/outbox.ts'
import { applied, type Received } from '#gateway/uplink/received.ts'
import { openSession } from '#gateway/uplink/session.ts'
import { loadReceived, type StateFault, saveReceived } from '#gateway/uplink/state-file.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type SignAnswer, type SignRequest, signAnswerSchema } from '#mesh/wire/join.ts'
import { type PullAnswer, pullAnswerSchema, type StreamDelta } from '#mesh/wire/pull.ts'
import { type Head, syncAnswerSchema } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'

/** Milliseconds. The heads period bounds what a lost hint costs; the others bound how hard a dead centre is knocked at. */
export const uplinkTimes = {
  heads: 3000,
  heartbeat: 10_000,
  saveAfter: 500,
  retryMin: 250,
  retryMax: 5000,
  hintLife: 50 * 60_000,
} as const

export type UplinkSettings = {
  readonly membership: Membership
  readonly key: RelayKey
  /** State directory; `received.json` lives here. */
  readonly dir: string
  readonly version: string
  readonly log: Log
  /** Called after every applied change, with the streams that moved. Never called with older state than before. */
  readonly onReceived: (received: Received, changed: readonly string[]) => void
}

export type Log = {
  info(facts: object, text: string): void
  warn(facts: object, text: string): void
}

/** What the relay's status shows of the line to the centre. Times are Unix ms. */
export type UplinkStatus = {
  readonly state: 'connecting' | 'connected' | 'away' | 'refused'
  readonly since: number
  readonly lastHeardAt?: number
  readonly reason?: string
  readonly hints: boolean
  readonly toTell: number
  readonly clockSkewMs: number
  readonly streams: Readonly<Record<string, number>>
  readonly faults: readonly StateFault[]
}

export type Uplink = {
  /** What was on disk: to be served before anyone is called. */
  readonly received: () => Received
  /** Begins to call the centre. */
  start(): void
  /** Replaces what the centre is to know of this cluster. Not called before the cluster was read completely. */
  report(items: ReadonlyMap<string, Json>): void
  sign(request: SignRequest): Promise<SignAnswer>
  status(): UplinkStatus
  stop(): void
}

/**
 * The one outbound line to the centre: reports up, config and summaries down. It survives everything by keeping the last
 * good state and asking again: a failure never removes anything.
 */
export function openUplink(settings: UplinkSettings): Uplink {
  const { membership, log } = settings
  const client = centreClient({ url: membership.url, version: settings.version, ca: membership.controlPlaneCa })
  const session = openSession({ client, membership, key: settings.key, now: Date.now, randomId: randomUUID })
  const path = join(settings.dir, 'received.json')
  const loaded = loadReceived(path)
  let received = loaded.received
  let faults = loaded.faults
  let outbox: Outbox = newOutbox(Date.now(), randomBytes(4).toString('hex'))
  let wanted: ReadonlyMap<string, Json> | undefined
  // Sent and not answered: sent again as it was, because the centre may have applied it under its number.
  let unanswered: Batch | undefined
  let state: UplinkStatus['state'] = 'connecting'
  let since = Date.now()
  let reason: string | undefined
  let lastHeardAt: number | undefined
  let lastSyncAt = 0
  let minIntervalMs = 0
  let hints: { close(): void } | undefined
  let hintsOpen = false
  let stopped = false
  let saveTimer: NodeJS.Timeout | undefined
  const timers = new Set<NodeJS.Timeout>()

  const syncing = single(syncAll)
  const pulling = single(pullAll)

  return {
    received: () => received,
    start: () => {
      for (const fault of faults) log.warn({ fault }, 'state file set aside')
      void loop()
    },
    report: (items) => {
      wanted = items
      if (state === 'connected') syncing.run()
    },
    sign: (request) => callAs('sign', `/v1/clusters/${membership.clusterId}/certificates`, request, signAnswerSchema),
    status: () => ({
      state,
      since,
      hints: hintsOpen,
      toTell: wanted ? [...wanted.keys()].filter((key) => !outbox.told.has(key)).length : 0,
      clockSkewMs: session.clockSkewMs(),
      streams: Object.fromEntries([...received].map(([name, { rev }]) => [name, rev])),
      faults,
      ...(lastHeardAt === undefined ? {} : { lastHeardAt }),
      ...(reason === undefined ? {} : { reason }),
    }),
    stop: () => {
      stopped = true
      for (const timer of timers) clearTimeout(timer)
      if (saveTimer) {
        clearTimeout(saveTimer)
        save()
      }
      hints?.close()
      client.close()
    },
  }

  /** One round after another for ever: heads by pull, the report or a heartbeat, the hint line; slower while it fails. */
  async function loop(): Promise<void> {
    for (let failures = 0; !stopped; ) {
      try {
        await pulling.done()
        await syncing.done()
        if (!hints) await watch()
        failures = 0
        await pause(uplinkTimes.heads * (0.9 + Math.random() * 0.2))
      } catch (error) {
        failures++
        lost(error)
        const wait = Math.min(uplinkTimes.retryMax, uplinkTimes.retryMin * 2 ** Math.min(failures, 10))
        await pause(wait * (0.5 + Math.random() / 2))
      }
    }
  }

  async function callAs<T>(what: string, path: string, body: unknown, schema: import('zod').ZodType<T>): Promise<T> {
    try {
      const answer = await client.call({ path, body, schema, token: await session.token(), timeoutMs: 15_000 })
      heard()
      return answer
    } catch (error) {
      if (error instanceof Problem && error.kind === 'unauthenticated') session.forget()
      log.warn({ what, err: (error as Error).message }, 'call to the centre failed')
      throw error
    }
  }

  async function pullAll(): Promise<void> {
    let next: Record<string, string> = {}
    const pages = new Map<string, StreamDelta>()
    do {
      const have: Head[] = [...received].map(([name, { epoch, rev }]) => [name, epoch, rev])
      const more = Object.keys(next).length > 0
      const body = { proto: meshSyncText, have, ...(more ? { next } : {}) }
      const answer: PullAnswer = await callAs('pull', '/v1/pull', body, pullAnswerSchema)
      next = {}
      const ready: StreamDelta[] = []
      for (const page of answer.streams) {
        const whole = joined(pages.get(page.stream), page)
        if (page.next !== undefined) {
          pages.set(page.stream, whole)
          next[page.stream] = page.next
        } else {
          pages.delete(page.stream)
          ready.push(whole)
        }
      }
      take(ready, answer.gone)
    } while (Object.keys(next).length > 0)
  }

  /** Applies what fits. A delta that does not is left to the next pull; a wrong root makes the stream come whole. */
  function take(deltas: readonly StreamDelta[], gone: readonly string[]): boolean {
    const after = new Map(received)
    const changed: string[] = []
    let fits = true
    for (const delta of deltas) {
      try {
        const stream = applied(received.get(delta.stream), delta)
        if (stream) {
          after.set(delta.stream, stream)
          changed.push(delta.stream)
        } else fits = false
      } catch (error) {
        log.warn({ stream: delta.stream, err: (error as Error).message }, 'stream is read again, whole')
        const before = received.get(delta.stream)
        // Served as before; only its position is forgotten, so that the next pull brings a snapshot.
        if (before) after.set(delta.stream, { ...before, epoch: '', rev: 0 })
        fits = false
      }
    }
    for (const name of gone) if (after.delete(name)) changed.push(name)
    received = after
    if (changed.length > 0) {
      saveTimer ??= setTimeout(save, uplinkTimes.saveAfter)
      settings.onReceived(received, changed)
    }
    return fits
  }

  function save(): void {
    saveTimer = undefined
    try {
      saveReceived(path, received)
      faults = faults.filter((fault) => fault.path !== path)
    } catch (cause) {
      const fault = { path, reason: `not saved: ${(cause as Error).message}` }
      faults = [...faults.filter((f) => f.path !== path), fault]
      log.warn({ fault }, 'state could not be saved; served from memory')
      if (!stopped) saveTimer = setTimeout(save, 10_000)
    }
  }

  async function syncAll(): Promise<void> {
    for (;;) {
      if (!wanted) return
      const beat = Date.now() - lastSyncAt >= uplinkTimes.heartbeat
      unanswered ??= nextBatch(outbox, wanted, beat)
      if (!unanswered) return
      await syncOnce(unanswered)
      if (minIntervalMs > 0) await pause(minIntervalMs)
    }
  }

  async function syncOnce({ request, after }: Batch): Promise<void> {
    try {
      const answer = await callAs('sync', `/v1/clusters/${membership.clusterId}/sync`, request, syncAnswerSchema)
      outbox = after
      unanswered = undefined
      lastSyncAt = Date.now()
      minIntervalMs = Math.min(answer.minIntervalMs, 5000)
      for (const { key, reason } of answer.rejected ?? [])
        log.warn({ key, reason }, 'the centre refused an item of the report')
      if (answer.resync) again('the centre asked for everything')
      if (answer.heads?.some(behind)) pulling.run()
    } catch (error) {
      // A gap or a deposed epoch: the state of the cluster is at hand, so tell it whole rather than mend the sequence.
      if (!(error instanceof Problem) || error.kind !== 'conflict') throw error
      if (error.extra['needSeq'] === undefined && error.extra['epochBehind'] === undefined) throw error
      again(error.message, typeof error.extra['epoch'] === 'string' ? error.extra['epoch'] : outbox.epoch)
    }
  }

  function again(why: string, afterEpoch = outbox.epoch): void {
    log.info({ why }, 'reporting everything in a new epoch')
    outbox = newOutbox(Date.now(), randomBytes(4).toString('hex'), afterEpoch)
    unanswered = undefined
  }

  function behind([stream, epoch, rev]: Head): boolean {
    const held = received.get(stream)
    return held === undefined || held.epoch !== epoch || held.rev < rev
  }

  async function watch(): Promise<void> {
    const token = await session.token()
    if (stopped) return
    const life = setTimeout(() => line.close(), uplinkTimes.hintLife * (0.9 + Math.random() * 0.2))
    timers.add(life)
    const ended = () => {
      clearTimeout(life)
      timers.delete(life)
      hints = undefined
      hintsOpen = false
    }
    const line = openHints(
      { url: membership.url, token, ca: membership.controlPlaneCa },
      {
        onOpen: () => {
          hintsOpen = true
        },
        onHint: (hint, delta) => {
          heard()
          take(
            delta.filter((d) => behind([d.stream, d.epoch, d.to])),
            [],
          )
          if (hint.heads.some(behind)) pulling.run()
        },
        onGap: () => pulling.run(),
        onClose: ended,
      },
    )
    hints = {
      close: () => {
        ended()
        line.close()
      },
    }
  }

  function heard(): void {
    lastHeardAt = Date.now()
    if (state === 'connected') return
    state = 'connected'
    since = Date.now()
    reason = undefined
    log.info({ centre: membership.url }, 'connected to the centre')
  }

  function lost(error: unknown): void {
    const refused = error instanceof Problem && (error.kind === 'forbidden' || error.kind === 'unauthenticated')
    const now = refused ? 'refused' : 'away'
    reason = (error as Error).message
    if (state === now) return
    state = now
    since = Date.now()
    log.warn({ reason }, refused ? 'the centre refuses this relay' : 'the centre is away; serving what is known')
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        timers.delete(timer)
        resolve()
      }, ms)
      timers.add(timer)
    })
  }
}

/** The pages of one stream so far, as one delta that ends where the last page ends. */
function joined(before: StreamDelta | undefined, page: StreamDelta): StreamDelta {
  return before ? { ...page, from: before.from, mode: before.mode, items: [...before.items, ...page.items] } : page
}

/** Runs `work` one at a time: a call while it runs makes it run once more afterwards, however many calls there were. */
function single(work: () => Promise<void>): { run(): void; done(): Promise<void> } {
  let running: Promise<void> | undefined
  let again = false
  const start = (): Promise<void> => {
    running = (async () => {
      do {
        again = false
        await work()
      } while (again)
    })().finally(() => {
      running = undefined
    })
    return running
  }
  return {
    run: () => {
      again = true
      if (!running) start().catch(() => undefined)
    },
    done: () => {
      if (!running) return start()
      again = true
      return running
    },
  }
}
