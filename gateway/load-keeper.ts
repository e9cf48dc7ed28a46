import { randomBytes } from 'node:crypto'
import { ackedConfigs } from '#gateway/acked-configs.ts'
import { type Intended, intendedShares } from '#gateway/intended-shares.ts'
import { openLoadCaps } from '#gateway/load-caps.ts'
import { type LoadCounts, openLoadCounts, type Window } from '#gateway/load-counts.ts'
import { fitted, gatewaysOf, sumOf } from '#gateway/load-report.ts'
import type { Pauses } from '#gateway/pauses.ts'
import type { TrafficKeeper } from '#gateway/traffic-keeper.ts'
import type { Address } from '#mesh/model/address.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { CallLoad, Counted, Latency, Load, LoadReport, Measured } from '#mesh/model/load.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { View } from '#mesh/model/view.ts'
import { defaultFailback, percentOf } from '#mesh/policy/judge-health.ts'
import { type LoadAnswer, loadLimits } from '#mesh/wire/load.ts'

export type LoadKeeperParts = {
  readonly stateDir: string
  readonly view: () => View
  /** Proxies that are connected for their config, by `keyOf`; undefined while this relay's port is closed. */
  readonly proxies: () => readonly { readonly key: string; readonly kind: string }[] | undefined
  /** The own gateways, as others dial them. */
  readonly places: () => readonly Address[]
  readonly traffic: Pick<TrafficKeeper, 'shifts' | 'taken' | 'quotas' | 'health'>
  /** Services that are served below their first tier. */
  readonly below: () => readonly ServiceKey[]
  /** How long the own callers' calls took of late. */
  readonly latencies: () => readonly Latency[]
  /** What came from the centre and is in force. */
  readonly inForce: () => Pick<Load, 'adv' | 'cfg'>
  readonly isConnected: () => boolean
  /** Whether all proxies have what they are to have. */
  readonly isSettled: () => boolean
  readonly tell: (report: LoadReport) => Promise<LoadAnswer>
  readonly pauses: Pauses
  readonly log: { info(facts: object, text: string): void; warn(facts: object, text: string): void }
  /** Unix ms, by the centre's clock. */
  readonly wall: () => number
  readonly now?: () => number
  readonly times?: Partial<Record<keyof typeof loadTimes, number>>
}

/** Milliseconds. */
export const loadTimes = {
  /** A window lasts so long at least: it ends when every proxy that is measured has reported in it. */
  window: 10_000,
  /** While something is drained, which waits for what is reported. */
  drainWindow: 3000,
  /** Between something that cannot wait and its report. */
  soon: 500,
  /** A centre that does not take reports is asked so often. */
  refused: 3_600_000,
  /** What nobody took for so long is not told any more: it says nothing about now. */
  keptMax: 300_000,
  settleLook: 100,
  /** A proxy may be late with its third report by so much, and counts as measured: so long a window waits for it. */
  late: 5000,
  /** A proxy that lost its relay is back by then, with what it counted meanwhile: Envoy redials every 5 s at least. */
  back: 10_000,
} as const

/** What is measured of the own callers, window by window: told to the centre, and kept to what it allows. */
export type LoadKeeper = {
  readonly counts: Pick<LoadCounts, 'take' | 'gone'>
  /** How often proxies are to report. */
  intervalMs(): number
  /** Calls to a cluster that failed in the last `ms`, each try counted; null = nobody measures. */
  failedIn(cluster: ClusterName, ms: number): number | null
  /** Something is to be told that does not wait for the window's end. */
  soon(): void
  /** Another config is in force: when all proxies have it is told. */
  configTaken(): void
  begin(): void
  /** The last window that is over; undefined while there is none, and while no proxy is measured. */
  lastWindow(): Pick<Counted, 'rows' | 'windowMs'> | undefined
  status(): LoadStatus
  observed(): LoadObserved
}

export type LoadStatus = {
  readonly proxies: Measured
  /** When the centre last took a report, Unix ms; null = never. */
  readonly takenAt: number | null
  /** Why it takes none; null where it does. */
  readonly fault: string | null
  /** Rows of the last one that it did not take. */
  readonly rejected: number
  readonly caps: readonly { readonly service: ServiceKey; readonly cluster: ClusterName; readonly cap: number }[]
}

export type LoadObserved = {
  readonly proxies: Measured
  readonly shares: readonly {
    readonly service: string
    readonly callee: string
    readonly kind: 'intended' | 'measured'
    readonly share: number
  }[]
  readonly leftOut: number
  /** Of the services with most calls. */
  readonly latencies: readonly Latency[]
}

export function openLoadKeeper(parts: LoadKeeperParts): LoadKeeper {
  const { view, traffic, pauses, log, wall, now = () => performance.now() } = parts
  const times = { ...loadTimes, ...parts.times }
  const epoch = randomBytes(8).toString('hex')
  const counts = openLoadCounts(() => view().config, now)
  const intended = intendedShares(view)
  const warn = (text: string) => log.warn({}, text)
  const caps = openLoadCaps({ stateDir: parts.stateDir, config: () => view().config, warn })
  const acked = ackedConfigs(parts, times.settleLook)
  /** When the proxies may be thought to be back; undefined while nobody is served. */
  let settledAt: number | undefined
  let isCounting = false
  let begunAt = now()
  let endedAt = begunAt
  let seq = 0
  let windowAt = Number.POSITIVE_INFINITY
  let dueAt = now() + times.window
  let notBefore = Number.NEGATIVE_INFINITY
  let telling = false
  let takenAt: number | null = null
  let fault: string | null = null
  let rejected = 0
  let last: Pick<Counted, 'rows' | 'windowMs'> | undefined
  traffic.quotas(caps.caps())

  return {
    counts,
    intervalMs,
    failedIn: (cluster, ms) => (measuredNow().measured === 0 ? null : counts.errorsIn(cluster, ms)),
    soon: () => {
      dueAt = Math.min(dueAt, now() + times.soon)
    },
    configTaken: () => acked.taken(),
    begin: look,
    lastWindow,
    status: () => ({ proxies: measuredNow(), takenAt, fault, rejected, caps: caps.caps() }),
    observed: () => ({
      ...{ proxies: measuredNow(), ...sharesShown(lastWindow()?.rows ?? [], intended) },
      latencies: parts.latencies().slice(0, seriesMax / 5),
    }),
  }

  function lastWindow(): Pick<Counted, 'rows' | 'windowMs'> | undefined {
    return measuredNow().measured === 0 ? undefined : last
  }

  function look(): void {
    if (!isCounting) settle()
    if (!telling && isOver()) void tell(ended())
    else if (!telling && now() >= dueAt) void tell(undefined)
    pauses.later(Math.max(20, Math.min(250, times.soon / 2)), look)
  }

  /** When a relay begins, its proxies are on their way back to it: the first window begins when they are there. */
  function settle(): void {
    settledAt = parts.proxies() === undefined ? undefined : (settledAt ?? now() + times.back)
    isCounting = settledAt !== undefined && now() >= settledAt
    if (isCounting) beginWindow()
  }

  function beginWindow(): Window {
    endedAt = now()
    begunAt = endedAt
    windowAt = endedAt + windowMs()
    return counts.takeAway()
  }

  /** A window says nothing of whom it did not hear, so it waits for all of whom there is anything to hear. */
  function isOver(): boolean {
    if (!isCounting || now() < Math.min(windowAt, endedAt + windowMs())) return false
    return !counts.isMissing(measuredKeys(), times.back)
  }

  function ended(): Ended {
    const spanMs = Math.max(1, Math.round(now() - begunAt))
    const window = beginWindow()
    const isMeasured = measuredNow().measured > 0
    last = isMeasured ? { rows: window.rows, windowMs: spanMs } : undefined
    if (isMeasured) traffic.quotas(caps.measured(window.rows, spanMs))
    return { window, spanMs }
  }

  /** The window that is over, or without one what cannot wait for it. */
  async function tell(end: Ended | undefined): Promise<void> {
    telling = true
    dueAt = now() + windowMs()
    try {
      if (parts.isConnected() && now() >= notBefore) taken(await parts.tell(fitted(reportOf(end))))
      else keep(end)
    } catch (error) {
      keep(end)
      refused(error)
    }
    telling = false
  }

  /** What nobody took is part of the next window. */
  function keep(end: Ended | undefined): void {
    if (!end || end.spanMs > times.keptMax) return
    counts.giveBack(end.window)
    begunAt -= end.spanMs
  }

  function refused(error: unknown): void {
    const isUnknown = error instanceof Problem && error.kind === 'not-found'
    const text = isUnknown ? 'the centre takes no load reports: it is the older one' : (error as Error).message
    if (isUnknown) notBefore = now() + times.refused
    if (fault !== text) log.info({ why: text }, 'load reports are not taken')
    fault = text
  }

  function taken(answer: LoadAnswer): void {
    takenAt = wall()
    fault = null
    acked.told()
    const { shiftsTaken, quotas, againMs } = answer
    if (shiftsTaken) traffic.taken(shiftsTaken.epoch, shiftsTaken.seq)
    caps.quotas(quotas)
    const count = answer.rejected?.count ?? 0
    if (count > 0 && rejected === 0)
      log.warn({ count, first: answer.rejected?.first.slice(0, 5) }, 'rows of a load report were refused')
    rejected = count
    windowAt = Math.min(windowAt, now() + Math.max(times.soon, Math.min(againMs, windowMs())))
    if (traffic.shifts().shifts.length > 0) dueAt = Math.min(dueAt, now() + 2 * times.soon)
  }

  function windowMs(): number {
    return isDraining() ? Math.min(times.window, times.drainWindow) : times.window
  }

  function isDraining(): boolean {
    if (traffic.health().advice.drains.some(({ phase }) => phase !== 'done')) return true
    for (const { drains } of view().config?.imports.values() ?? []) if (drains !== undefined) return true
    return false
  }

  /** Each report is 60 kB and more: as many proxies as there are, so many seconds between those of each. */
  function intervalMs(): number {
    const proxies = parts.proxies()?.length ?? 0
    const seconds = isDraining() ? [proxies / 200, 2, 15] : [proxies / 50, 5, 60]
    const [wanted = 0, least = 0, most = 0] = seconds
    return Math.min(times.window, Math.ceil(Math.min(most, Math.max(least, wanted))) * 1000)
  }

  function measuredNow(of: 'callers' | 'routers' = 'callers'): Measured {
    const callers = (parts.proxies() ?? []).filter(({ kind }) => (kind === 'router') === (of === 'routers'))
    const reporting = counts.reporting(silentMs())
    const measured = callers.filter(({ key }) => reporting.has(key)).length
    return { measured, notMeasured: callers.length - measured }
  }

  function measuredKeys(): readonly string[] {
    const reporting = counts.reporting(silentMs())
    return (parts.proxies() ?? []).flatMap(({ key }) => (reporting.has(key) ? [key] : []))
  }

  /** A proxy that reported so long ago is not measured any more. */
  function silentMs(): number {
    return 3 * intervalMs() + times.late
  }

  function reportOf(end: Ended | undefined): LoadReport {
    seq += 1
    const untold = traffic.shifts()
    const { window, spanMs } = end ?? noWindow
    const rows = window.rows.toSorted((a, b) => b.issued + b.active - a.issued - a.active)
    const rest = sumOf(rows.slice(loadLimits.rows))
    // Between windows the services of the last one are still what is shown.
    const called = end ? rows : (last?.rows ?? [])
    const told = new Set([...called.map(({ service }) => service), ...intended.notPlain()])
    // Those that nobody calls are told where they are few.
    const services = [...new Set([...told, ...intended.all().slice(0, Math.max(0, plainMax - told.size))])]
    return {
      ...{ epoch, seq, at: Math.round(wall()), windowMs: Math.min(spanMs, 3_600_000) },
      ...{ ...parts.inForce(), proxies: measuredNow(), routers: measuredNow('routers') },
      rows: rows.slice(0, loadLimits.rows),
      ...(rest ? { rest } : {}),
      gateways: gatewaysOf(window, parts.places()).slice(0, loadLimits.gateways),
      latencies: parts.latencies(),
      shares: services.slice(0, loadLimits.shares).flatMap((service) => {
        const one = intended.of(service)
        return one ? [{ ...one, intended: one.intended.slice(0, loadLimits.targets) }] : []
      }),
      below: parts.below().slice(0, loadLimits.below),
      health: healthNow(),
      ...reachedNow(),
      acked: acked.list(),
      ...(untold.shifts.length > 0
        ? { shifts: { epoch: untold.epoch, list: untold.shifts.slice(0, loadLimits.shifts) } }
        : {}),
    }
  }

  function reachedNow(): Pick<Load, 'reached'> {
    const reached = traffic.health().reached()
    return reached.length === 0 ? {} : { reached: reached.slice(0, loadLimits.health) }
  }

  function healthNow(): Load['health'] {
    const { judged, now: at } = traffic.health()
    return [...judged().clusters]
      .filter(([, { phase }]) => phase !== 'in')
      .slice(0, loadLimits.health)
      .map(([cluster, state]) => ({ cluster, phase: state.phase, percent: percentOf(state, defaultFailback, at) }))
  }
}

/** So many services are named where nothing is to be said of them but how they would be called. */
const plainMax = 100

type Ended = { readonly window: Window; readonly spanMs: number }
const noWindow: Ended = { window: { rows: [], routers: [] }, spanMs: 0 }

const seriesMax = 500

/** Of the services with most calls. */
function sharesShown(rows: readonly CallLoad[], intended: Intended): Pick<LoadObserved, 'shares' | 'leftOut'> {
  const totals = new Map<ServiceKey, number>()
  for (const { service, issued } of rows) totals.set(service, (totals.get(service) ?? 0) + issued)
  const shares: LoadObserved['shares'][number][] = []
  let leftOut = 0
  for (const [service, total] of [...totals].toSorted(([, a], [, b]) => b - a)) {
    const measured = rows
      .filter((row) => row.service === service && total > 0)
      .map((row) => ({ service, callee: row.callee, kind: 'measured' as const, share: row.issued / total }))
    const meant = (intended.of(service)?.intended ?? []).map(({ cluster, share }) => ({
      ...{ service, callee: cluster, kind: 'intended' as const, share },
    }))
    if (shares.length + measured.length + meant.length > seriesMax) leftOut += 1
    else shares.push(...meant, ...measured)
  }
  return { shares, leftOut }
}
