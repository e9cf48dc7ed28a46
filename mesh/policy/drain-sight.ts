import type { DrainSubject } from '#mesh/model/drain.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { CallLoad, Load } from '#mesh/model/load.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Demand } from '#mesh/policy/check-drain.ts'
import type { Quiet } from '#mesh/policy/plan-drain.ts'

/** What one cluster's relay last told, and when the centre took it. */
export type HeardLoad = { readonly cluster: ClusterName; readonly takenAt: number; readonly load: Load }

/** Whom a drain concerns. */
export type DrainScope = {
  readonly subject: DrainSubject
  /** The services that are led away. */
  readonly services: ReadonlySet<ServiceKey>
  /** Clusters that call them there, and whether they do so through its gateways. */
  readonly callers: ReadonlyMap<ClusterName, 'gateways' | 'pods'>
}

/** What was seen window by window; `seen` names the last one that was looked at. */
export type Watched = {
  readonly seen: string
  /** Windows in a row in which nothing went there. */
  readonly quiet: number
  /** How long these were together. */
  readonly quietMs: number
  /** Windows in a row in which clearly more failed than before. */
  readonly failing: number
  /** Errors per call before the drain began. */
  readonly baseline: number | undefined
  /** Of the last window: how many failed of how many. */
  readonly errors: number
  readonly calls: number
}

export const drainBars = {
  /** A relay that was not heard for so long is away. */
  heardMs: 30_000,
  windows: 2,
  /**
   * So long the quiet windows have to be together. A relay may end one before every proxy has reported in it; while
   * something drains each reports every 10 s at least, so after twice that nobody's calls are untold.
   */
  quietMs: 20_000,
  /** So much more of the calls may fail than before. */
  errorRate: 0.02,
  /** Fewer calls in a window say nothing about a rate. */
  callsMin: 20,
} as const

/** What callers ask of a service, all clusters together; undefined where nobody measures. */
export function demandIn(loads: readonly HeardLoad[], service: ServiceKey): Demand | undefined {
  const measured = loads.filter(({ load }) => load.proxies.measured > 0)
  if (measured.length === 0) return undefined
  let requestsPerSecond = 0
  let connections = 0
  for (const { load } of measured)
    for (const row of load.rows) {
      if (row.service !== service) continue
      requestsPerSecond += (row.issued * 1000) / Math.max(1, load.windowMs)
      connections += row.active
    }
  return { requestsPerSecond, connections }
}

/** Errors per call of one caller to these services, wherever they were served; undefined where it says too little. */
export function errorRateOf(load: Load, services: ReadonlySet<ServiceKey>): number | undefined {
  const { errors, calls } = outcomeOf(load, services)
  return calls < drainBars.callsMin ? undefined : errors / calls
}

function outcomeOf({ rows }: Load, services: ReadonlySet<ServiceKey>): Pick<Watched, 'errors' | 'calls'> {
  let [errors, calls] = [0, 0]
  for (const row of rows)
    if (services.has(row.service)) {
      errors += row.errors
      calls += row.errors + row.ok
    }
  return { errors, calls }
}

/**
 * One more look at one cluster. A window counts once, and as quiet only where all of it lies after `since`, when nothing
 * was to go there any more (Unix ms, the centre's clock).
 */
export function watched(
  before: Watched | undefined,
  { cluster, takenAt, load }: HeardLoad,
  scope: DrainScope,
  { since, baseline }: { readonly since: number; readonly baseline: number | undefined },
): Watched {
  const seen = `${load.epoch} ${load.seq}`
  if (before?.seen === seen) return before
  const first = before?.baseline ?? baseline
  const { errors, calls } = outcomeOf(load, scope.services)
  const rate = errorRateOf(load, scope.services)
  const isFailing = rate !== undefined && first !== undefined && rate > first + drainBars.errorRate
  const isQuiet = takenAt - load.windowMs >= since && leftIn(cluster, load, scope) === 0
  return {
    ...{ seen, errors, calls },
    quiet: isQuiet ? (before?.quiet ?? 0) + 1 : 0,
    quietMs: isQuiet ? (before?.quietMs ?? 0) + load.windowMs : 0,
    failing: isFailing ? (before?.failing ?? 0) + 1 : rate === undefined ? (before?.failing ?? 0) : 0,
    baseline: first ?? rate,
  }
}

/** What one cluster still sends to the drained one, or lets in there: begun in the window, and open at its end. */
export function leftIn(cluster: ClusterName, load: Load, { subject, services }: DrainScope): number {
  const sum = (rows: readonly Pick<CallLoad, 'issued' | 'active'>[]): number =>
    rows.reduce((all, { issued, active }) => all + issued + active, 0)
  if (cluster === subject.cluster)
    return sum(
      load.gateways.filter(
        ({ address, service }) => services.has(service) && (subject.kind !== 'gateway' || address === subject.gateway),
      ),
    )
  const rows = load.rows.filter((row) => row.callee === subject.cluster && services.has(row.service))
  return sum(rows) + (load.rest ? sum([load.rest]) : 0)
}

/** The caller that fails clearly more often than before, if any: how. */
export function failingOf(all: ReadonlyMap<ClusterName, Watched>): string | undefined {
  const [found] = [...all].filter(([, { failing }]) => failing >= drainBars.windows)
  if (!found) return undefined
  const [cluster, { errors, calls, baseline = 0 }] = found
  const percent = (part: number): string => `${(part * 100).toFixed(1)} %`
  return `${errors} of ${calls} calls of ${cluster} failed (${percent(errors / calls)}; before it began ${percent(baseline)})`
}

/**
 * Whether it is proved that nothing goes there any more. The drained cluster's gateways have to say so, service by
 * service, and so has every caller whose proxies are measured; of callers that are not, the gateways' word counts. Who
 * dials pods past any gateway has to be measured himself.
 */
export function quietOf(
  all: ReadonlyMap<ClusterName, Watched>,
  loads: ReadonlyMap<ClusterName, HeardLoad>,
  scope: DrainScope,
  now: number,
): Quiet {
  const { subject, callers, services } = scope
  const heard = (cluster: ClusterName): Load | undefined => {
    const one = loads.get(cluster)
    return one && now - one.takenAt <= drainBars.heardMs ? one.load : undefined
  }
  const isQuiet = (cluster: ClusterName): boolean => {
    const { quiet, quietMs } = all.get(cluster) ?? { quiet: 0, quietMs: 0 }
    return quiet >= drainBars.windows && quietMs >= drainBars.quietMs
  }
  const own = heard(subject.cluster)
  const gatewaysAreMeasured = own?.routers !== undefined && own.routers.notMeasured === 0
  // Of one gateway only itself can tell: callers do not know which one of its cluster they went through.
  const telling = subject.kind === 'gateway' ? [] : [...callers.keys()]
  const silent = telling.filter((cluster) => !isMeasured(heard(cluster)))
  const direct = silent.filter((cluster) => callers.get(cluster) === 'pods')
  const usesGateways = [...callers.values()].includes('gateways')
  if (direct.length > 0)
    return notYet(`callers of ${someOf(direct)} dial its pods past any gateway, and are not measured`)
  if (usesGateways && !gatewaysAreMeasured)
    return notYet(
      own ? `gateways of ${subject.cluster} are not measured` : `the relay of ${subject.cluster} is not heard`,
    )
  const busy = telling.filter((cluster) => !silent.includes(cluster) && !isQuiet(cluster))
  const busyOnes = usesGateways && !isQuiet(subject.cluster) ? [subject.cluster, ...busy] : busy
  if (busyOnes.length > 0)
    return notYet(`waits for ${drainBars.quietMs / 1000} s without a call, of ${busyText(busyOnes)}`)
  return { is: 'proved', proof: proofText() }

  function busyText(clusters: readonly ClusterName[]): string {
    const open = clusters.map((cluster) => {
      const load = heard(cluster)
      const left = load ? leftIn(cluster, load, scope) : 0
      return left > 0 ? `${cluster} (${left} left)` : cluster
    })
    return someOf(open)
  }

  function proofText(): string {
    const measured = telling.filter((cluster) => !silent.includes(cluster))
    const gateways = subject.kind === 'gateway' ? ' through it' : usesGateways ? ' and at its gateways' : ''
    const by = measured.length > 0 ? ` from ${someOf(measured)}` : ''
    const unmeasured = silent.length > 0 ? `; not measured: ${someOf(silent)}, of which the gateways tell` : ''
    return `0 calls and 0 open connections of ${services.size} service${services.size === 1 ? '' : 's'}${by}${gateways} in ${drainBars.quietMs / 1000} s${unmeasured}`
  }
}

const notYet = (why: string): Quiet => ({ is: 'not-yet', why })

/** All of its proxies tell what they send where. */
const isMeasured = (load: Load | undefined): boolean => load !== undefined && load.proxies.notMeasured === 0
