import type { DrainSubject } from '#mesh/model/drain.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { CallLoad, Load, LoadWindow } from '#mesh/model/load.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Quiet } from '#mesh/policy/plan-drain.ts'

/** What one cluster's relay last told, and when the centre took that. */
export type HeardLoad = { readonly cluster: ClusterName; readonly takenAt: number; readonly load: Load }

/** Whom a drain concerns. */
export type DrainScope = {
  readonly subject: DrainSubject
  /** The services that are led away. */
  readonly services: ReadonlySet<ServiceKey>
  /** Clusters that call them there, and whether they do so through its gateways. */
  readonly callers: ReadonlyMap<ClusterName, 'gateways' | 'pods'>
}

/** What was seen window by window. */
export type Watched = {
  /** The last one that was looked at: by what process of the relay, and when it was taken. */
  readonly epoch: string
  readonly takenAt: number
  /** Windows in a row, none missing between them, in which nothing went there and nothing was open. */
  readonly quiet: number
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
  /**
   * Every proxy has reported in each of them, so in two it has reported twice: that nothing was open both times, and that
   * nothing was begun between. One alone would say the first only.
   */
  windows: 2,
  /** Between two windows that follow one another no more time is missing than a report may be on its way. */
  gapMs: 10_000,
  /** So much more of the calls may fail than before. */
  errorRate: 0.02,
  /** Fewer calls in a window say nothing about a rate. */
  callsMin: 20,
} as const

/** Errors per call of one caller to these services, wherever they were served; undefined where it says too little. */
export function errorRateOf(window: LoadWindow, services: ReadonlySet<ServiceKey>): number | undefined {
  const { errors, calls } = outcomeOf(window, services)
  return calls < drainBars.callsMin ? undefined : errors / calls
}

function outcomeOf({ rows }: LoadWindow, services: ReadonlySet<ServiceKey>): Pick<Watched, 'errors' | 'calls'> {
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
 * was to go there any more (Unix ms, the centre's clock), and every proxy that can tell was measured in it. Undefined
 * while there is no window.
 */
export function watched(
  before: Watched | undefined,
  { cluster, load }: Omit<HeardLoad, 'takenAt'>,
  scope: DrainScope,
  { since, baseline }: { readonly since: number; readonly baseline: number | undefined },
): Watched | undefined {
  const { window } = load
  if (!window || window.takenAt === before?.takenAt) return before
  const { epoch, takenAt, windowMs } = window
  const first = before?.baseline ?? baseline
  const { errors, calls } = outcomeOf(window, scope.services)
  const rate = errorRateOf(window, scope.services)
  const isFailing = rate !== undefined && first !== undefined && rate > first + drainBars.errorRate
  const isWhole = cluster === scope.subject.cluster ? gatewaysAreMeasured(window) : callersAreMeasured(window)
  const isQuiet = takenAt - windowMs >= since && isWhole && leftIn(cluster, window, scope) === 0
  const follows = before?.epoch === epoch && takenAt - windowMs - before.takenAt <= drainBars.gapMs
  return {
    ...{ epoch, takenAt, errors, calls },
    quiet: isQuiet ? (follows ? before.quiet : 0) + 1 : 0,
    failing: isFailing ? (before?.failing ?? 0) + 1 : rate === undefined ? (before?.failing ?? 0) : 0,
    baseline: first ?? rate,
  }
}

/** What one cluster still sends to the drained one, or lets in there: begun in the window, and open at its end. */
export function leftIn(cluster: ClusterName, window: LoadWindow, { subject, services }: DrainScope): number {
  const sum = (rows: readonly Pick<CallLoad, 'issued' | 'active'>[]): number =>
    rows.reduce((all, { issued, active }) => all + issued + active, 0)
  if (cluster === subject.cluster)
    return sum(
      window.gateways.filter(
        ({ address, service }) => services.has(service) && (subject.kind !== 'gateway' || address === subject.gateway),
      ),
    )
  const rows = window.rows.filter((row) => row.callee === subject.cluster && services.has(row.service))
  return sum(rows) + (window.rest ? sum([window.rest]) : 0)
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
  const isQuiet = (cluster: ClusterName): boolean => (all.get(cluster)?.quiet ?? 0) >= drainBars.windows
  const own = heard(subject.cluster)
  // Of one gateway only itself can tell: callers do not know which one of its cluster they went through.
  const telling = subject.kind === 'gateway' ? [] : [...callers.keys()]
  const silent = telling.filter((cluster) => !callersAreMeasured(heard(cluster)))
  const direct = silent.filter((cluster) => callers.get(cluster) === 'pods')
  const usesGateways = [...callers.values()].includes('gateways')
  if (direct.length > 0)
    return notYet(`callers of ${someOf(direct)} dial its pods past any gateway, and are not measured`)
  if (usesGateways && !gatewaysAreMeasured(own))
    return notYet(
      own ? `gateways of ${subject.cluster} are not measured` : `the relay of ${subject.cluster} is not heard`,
    )
  const busy = telling.filter((cluster) => !silent.includes(cluster) && !isQuiet(cluster))
  const busyOnes = usesGateways && !isQuiet(subject.cluster) ? [subject.cluster, ...busy] : busy
  if (busyOnes.length > 0)
    return notYet(`waits for ${drainBars.windows} reports in a row without a call, of ${busyText(busyOnes)}`)
  return { is: 'proved', proof: proofText() }

  function busyText(clusters: readonly ClusterName[]): string {
    const open = clusters.map((cluster) => {
      const window = heard(cluster)?.window
      const left = window ? leftIn(cluster, window, scope) : 0
      return left > 0 ? `${cluster} (${left} left)` : cluster
    })
    return someOf(open)
  }

  function proofText(): string {
    const measured = telling.filter((cluster) => !silent.includes(cluster))
    const gateways = subject.kind === 'gateway' ? ' through it' : usesGateways ? ' and at its gateways' : ''
    const by = measured.length > 0 ? ` from ${someOf(measured)}` : ''
    const unmeasured = silent.length > 0 ? `; not measured: ${someOf(silent)}, of which the gateways tell` : ''
    return `0 calls and 0 open connections of ${services.size} service${services.size === 1 ? '' : 's'}${by}${gateways} in ${drainBars.windows} reports of every proxy${unmeasured}`
  }
}

const notYet = (why: string): Quiet => ({ is: 'not-yet', why })

/** All of its proxies tell what they send where. */
const callersAreMeasured = (said: Pick<Load, 'proxies'> | undefined): boolean => said?.proxies.notMeasured === 0

/** There are some: of none nothing is known, they may be on their way back to a relay that has just begun. */
const gatewaysAreMeasured = (said: Pick<Load, 'routers'> | undefined): boolean =>
  said?.routers !== undefined && said.routers.notMeasured === 0 && said.routers.measured > 0
