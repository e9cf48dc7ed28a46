import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { callCentre } from '#gateway/uplink/call-centre.ts'
import { centreClient } from '#gateway/uplink/centre-client.ts'
import { openHintLine } from '#gateway/uplink/hint-line.ts'
import { openHints } from '#gateway/uplink/hints.ts'
import type { Membership, RelayKey } from '#gateway/uplink/membership.ts'
import type { Received } from '#gateway/uplink/received.ts'
import { openReceivedStore } from '#gateway/uplink/received-store.ts'
import { openReceiver } from '#gateway/uplink/receiver.ts'
import { openReporter, type RefusedItem, type Rival } from '#gateway/uplink/reporter.ts'
import { openSession } from '#gateway/uplink/session.ts'
import { isNotAMember, type LineState, type Log, openStanding } from '#gateway/uplink/standing.ts'
import type { StateFault } from '#gateway/uplink/state-file.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { LoadReport } from '#mesh/model/load.ts'
import { type SignAnswer, type SignRequest, signAnswerSchema } from '#mesh/wire/join.ts'
import { type LoadAnswer, loadAnswerSchema } from '#mesh/wire/load.ts'
import { cfgStream, trustStream } from '#mesh/wire/stream.ts'

export type { Log }

/**
 * Milliseconds. The heads period bounds what a lost hint costs; a centre that is away is knocked at no more often than one
 * that is there is asked, so that relays are back within five seconds of its return and never a storm.
 */
const uplinkTimes = {
  heads: 3000,
  heartbeat: 10_000,
  retryMin: 250,
  retryMax: 3000,
  refusedMax: 30_000,
} as const

export type UplinkSettings = {
  readonly membership: Membership
  readonly key: RelayKey
  /** The control-plane CAs to believe the centre by, PEM; those of the membership where absent. */
  readonly controlPlane?: () => string
  /** State directory; `received.json` lives here. */
  readonly dir: string
  readonly version: string
  readonly log: Log
  /** Called after every applied change, with the streams that moved. Never called with older state than before. */
  readonly onReceived: (received: Received, changed: readonly string[]) => void
  /** The centre does not take this relay for a member. Called again with each round. */
  readonly onRefused?: (reason: string) => void
  /** Whether this replica is the one that reports; absent = there is no other. */
  readonly leads?: () => boolean
  /** Unix ms; this machine's clock where absent. */
  readonly now?: () => number
}

/** What the relay's status shows of the line to the centre. Times are Unix ms. */
export type UplinkStatus = {
  readonly state: LineState
  readonly since: number
  readonly lastHeardAt?: number
  readonly reason?: string
  readonly hints: boolean
  readonly toTell: number
  /** Items of the report that others are not told of. */
  readonly refused: readonly RefusedItem[]
  readonly rival?: Rival
  readonly clockSkewMs: number
  readonly streams: Readonly<Record<string, number>>
  /** How often a stream did not add up and was read again. */
  readonly mismatches: number
  readonly faults: readonly StateFault[]
}

export type Uplink = {
  /** What was on disk: to be served before anyone is called. */
  readonly received: () => Received
  /** Begins to call the centre. */
  start(): void
  /** Replaces what the centre is to know of this cluster. Not called before the cluster was read completely. */
  report(items: ReadonlyMap<string, Json>): void
  /** This replica leads from now on. */
  takeOver(): void
  sign(request: SignRequest): Promise<SignAnswer>
  /** Tells what was measured of the own callers. */
  load(report: LoadReport): Promise<LoadAnswer>
  status(): UplinkStatus
  /** Unix ms by this machine's clock; what `status` says, for who asks each second. */
  lastHeardAt(): number | undefined
  /** Unix ms, put right by the centre's clock where this machine's is off by more than half a minute. */
  now(): number
  stop(): void
}

/**
 * The one outbound line to the centre: reports up, config and summaries down. It survives everything by keeping the last
 * good state and asking again: a failure never removes anything.
 */
export function openUplink(settings: UplinkSettings): Uplink {
  const { membership, log, now = Date.now } = settings
  const { url, clusterId } = membership
  const ca = settings.controlPlane ?? (() => membership.controlPlaneCa)
  const trusted = () => (membership.publiclyTrusted ? {} : { ca: ca() })
  const stopping = new AbortController()
  const { signal } = stopping
  const client = centreClient({ url, version: settings.version, ...(membership.publiclyTrusted ? {} : { ca }) })
  const session = openSession({ client, membership, key: settings.key, now, log, randomId: randomUUID })
  const standing = openStanding({ centre: url, now, log })
  const call = callCentre({ client, session, standing })
  const store = openReceivedStore(join(settings.dir, 'received.json'), log)
  const receiver = openReceiver({
    ...{ call, store, log, signal, onReceived: settings.onReceived },
    lasting: new Set([cfgStream(membership.cluster), trustStream(membership.mesh)]),
    onOtherEpoch: () => reporter.check(),
  })
  const reporter = openReporter({
    ...{ call, clusterId, log, pause, heartbeatMs: uplinkTimes.heartbeat },
    // By the centre's clock: it takes no epoch from the future.
    now: () => now() + session.clockSkewMs(),
    instance: randomBytes(4).toString('hex'),
    connected: () => standing.state() === 'connected',
    leads: settings.leads ?? (() => true),
    onHeads: receiver.heads,
  })
  const hints = openHintLine({
    ...{ now, log, token: session.token, forget: session.forget, onGap: receiver.ask },
    open: (token, events) => openHints({ url, token, ...trusted() }, events),
    onHint: (hint, deltas) => {
      if (signal.aborted) return
      standing.heard()
      receiver.hint(hint.heads, deltas)
    },
  })

  return {
    received: receiver.received,
    start: () => {
      for (const fault of store.faults()) log.warn({ fault }, 'state file set aside')
      void loop()
    },
    report: reporter.report,
    takeOver: reporter.takeOver,
    sign: (request) => call(`/v1/clusters/${clusterId}/certificates`, request, signAnswerSchema),
    load: (report) => call(`/v1/clusters/${clusterId}/load`, report, loadAnswerSchema, 'PUT'),
    status: () => ({
      ...{ state: standing.state(), ...standing.facts(), hints: hints.isOpen() },
      ...{ toTell: reporter.toTell(), refused: reporter.refused(), clockSkewMs: session.clockSkewMs() },
      ...((rival) => rival && { rival })(reporter.rival()),
      streams: Object.fromEntries([...receiver.received()].map(([name, { rev }]) => [name, rev])),
      ...{ mismatches: receiver.mismatches(), faults: store.faults() },
    }),
    lastHeardAt: () => standing.facts().lastHeardAt,
    now: () => now() + session.clockSkewMs(),
    stop: () => {
      stopping.abort()
      hints.stop()
      client.close()
      store.close()
    },
  }

  /** One round after another for ever: heads by pull, the report or a heartbeat, the hint line; slower while it fails. */
  async function loop(): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      // Side by side: a report is told although config cannot be had, and the other way round.
      const [pulled, told] = await Promise.allSettled([receiver.pull(), reporter.sync()])
      if (signal.aborted) return
      const faults = [pulled, told].flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []))
      const refusal = faults.find(isNotAMember)
      if (refusal) settings.onRefused?.(refusal.message)
      if (faults.length > 0) standing.lost(faults[0])
      else {
        // What came back may be an older copy of what went away: then it says so, and is told everything.
        if (standing.state() === 'away') reporter.check()
        standing.well()
      }
      const answers = pulled.status === 'fulfilled'
      failures = answers ? 0 : failures + 1
      if (answers) hints.keep()
      else if (standing.state() === 'away') hints.drop()
      await pause(answers ? uplinkTimes.heads * (0.9 + Math.random() * 0.2) : retryMs(failures)).catch(() => undefined)
    }
  }

  function retryMs(failures: number): number {
    const max = standing.state() === 'refused' ? uplinkTimes.refusedMax : uplinkTimes.retryMax
    return Math.min(max, uplinkTimes.retryMin * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2)
  }

  function pause(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal })
  }
}
