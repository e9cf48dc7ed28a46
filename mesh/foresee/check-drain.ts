import type { Calling, Overload } from '#mesh/foresee/capacities.ts'
import type { Configs } from '#mesh/foresee/config-changes.ts'
import { type ForecastFacts, newForecast, type ServiceForecast } from '#mesh/foresee/forecast.ts'
import { leadsOut } from '#mesh/foresee/outlook.ts'
import { freshOverloads } from '#mesh/foresee/rehearse.ts'
import { leavingRegion } from '#mesh/foresee/warnings.ts'
import { addressKey } from '#mesh/model/address.ts'
import type { DrainSubject } from '#mesh/model/drain.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Violation } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'

export type DrainFacts = Omit<ForecastFacts, 'unheard'> & {
  readonly configs: Configs
  /** What else is drained, or on its way out. */
  readonly others: readonly DrainSubject[]
}

export type DrainCheck = {
  /** Nobody would be left for some caller: no force passes. */
  readonly refusals: readonly Violation[]
  /** Those that are left said that they cannot take that much: an operator may know better. */
  readonly shortages: readonly Violation[]
  readonly warnings: readonly string[]
}

/**
 * What speaks against leading a cluster, a gateway or a service out of traffic while `others` are too: every service with
 * the caller that would have nobody, and every capacity that would be passed, as a rehearsal finds them. But that what is
 * not heard is no survivor: somebody has to be sure of an answer. Who has no ready pod serves nobody, so nobody loses him.
 * Callers inside the drained cluster keep its own pods.
 */
export function checkDrain(subject: DrainSubject, facts: DrainFacts): DrainCheck {
  if (subject.kind === 'gateway') return checkGateway(subject, facts)
  const { configs, others, demands, sight } = facts
  const forecast = (closed: readonly DrainSubject[]) =>
    newForecast(configs, { demands, sight: { ...sight, closed }, unheard: 'lost' })
  const [before, after] = [forecast(others), forecast([subject, ...others])]
  const refusals: Violation[] = []
  const shortages: Violation[] = []
  const seen: Seen[] = []
  for (const service of servicesOf(subject, configs)) {
    const [was, is] = [before.service(service), after.service(service)]
    for (const [caller, calling] of is.callings) {
      const cut = new Set(was.callings.get(caller)?.outlook.cutPorts)
      const lost = calling.outlook.cutPorts.filter((port) => !cut.has(port))
      if (lost.length > 0) refusals.push(nobodyLeft(subject, { caller, calling, lost, others }))
    }
    for (const one of freshOverloads(was, is))
      if (one.given > one.capacity) shortages.push({ path: service, reason: shortageText(one) })
    seen.push({ service, was, is })
  }
  return { refusals, shortages, warnings: [...capacityWarnings(seen), ...regionWarnings(seen)] }
}

type Seen = { readonly service: ServiceKey; readonly was: ServiceForecast; readonly is: ServiceForecast }

function servicesOf(subject: DrainSubject, configs: Configs): readonly ServiceKey[] {
  if (subject.kind === 'service') return [subject.service]
  return [...new Set([...configs.values()].flatMap(({ imports }) => [...imports.keys()]))].toSorted()
}

function nobodyLeft(
  subject: DrainSubject,
  facts: {
    readonly caller: ClusterName
    readonly calling: Calling
    readonly lost: readonly number[]
    readonly others: readonly DrainSubject[]
  },
): Violation {
  const { caller, calling, lost, others } = facts
  const { sources, key, ports } = calling.imported
  const rest = sources.map(({ cluster }) => cluster).filter((name) => name !== subject.cluster)
  const drained = rest.filter((name) => others.some((one) => leadsOut(one, name, key)))
  const idle = rest.filter((name) => !drained.includes(name))
  const reasons = [
    ...(drained.length > 0 ? [`${someOf(drained)} is drained too`] : []),
    ...(idle.length > 0 ? [`${someOf(idle)} has no ready pod, no gateway, or no place in its tiers`] : []),
    ...(rest.length === 0 ? ['nobody else offers it'] : []),
  ]
  const at = lost.length < ports.length ? ` at port ${someOf(lost.map(String))}` : ''
  return { path: `${key} for callers of ${caller}`, reason: `nobody would be left${at}: ${reasons.join('; ')}` }
}

const units = { requestsPerSecond: 'requests per second', connections: 'connections' } as const

const shortageText = ({ cluster, of, capacity, given }: Overload): string =>
  `${cluster} declares ${capacity} ${units[of]}, and would be asked for ${Math.ceil(given)}: nobody else has room`

function checkGateway(
  subject: Extract<DrainSubject, { readonly kind: 'gateway' }>,
  { configs, sight, others }: DrainFacts,
): DrainCheck {
  const { cluster, gateway } = subject
  const drained = [
    gateway,
    ...others.flatMap((one) => (one.kind === 'gateway' && one.cluster === cluster ? [one.gateway] : [])),
  ]
  const left = (sight.gateways.get(cluster)?.gateways ?? []).filter(
    (one) => one.state !== 'down' && !drained.includes(addressKey(one)),
  )
  const caller = left.length > 0 ? undefined : callerThrough(cluster, configs)
  if (caller === undefined) return { refusals: [], shortages: [], warnings: [] }
  const reason = `no other gateway of ${cluster} would be left for callers of ${caller}: drain the cluster instead`
  return { refusals: [{ path: `gateway ${gateway} of ${cluster}`, reason }], shortages: [], warnings: [] }
}

/** A cluster that may call another through its gateways. */
function callerThrough(cluster: ClusterName, configs: Configs): ClusterName | undefined {
  const own = configs.get(cluster)
  const found = [...configs].find(
    ([caller, { network, imports }]) =>
      caller !== cluster &&
      network !== own?.network &&
      [...imports.values()].some(({ sources }) => sources.some((source) => source.cluster === cluster)),
  )
  return found?.[0]
}

/** Who would be given more, and never said how much he takes; and of whom it is not known how much he asks for. */
function capacityWarnings(seen: readonly Seen[]): readonly string[] {
  const unknown = seen.filter(({ was, is }) =>
    [...is.callings].some(([caller, { outlook, imported }]) => {
      const old = was.callings.get(caller)?.outlook.shares
      const members = imported.tiers.flatMap((tier) => tier.members)
      const takers = [...outlook.shares].filter(([cluster, share]) => share > (old?.get(cluster) ?? 0) + 0.005)
      return takers.some(([cluster]) => !members.find((one) => one.cluster === cluster)?.capacity)
    }),
  )
  const unmeasured = seen.filter(({ was, is }) => is.notMeasured.length > 0 && was.callings.size > 0)
  const callers = [...new Set(unmeasured.flatMap(({ is }) => is.notMeasured))].toSorted()
  return [
    ...(unknown.length > 0
      ? [`no capacity is declared of those that take over ${servicesText(unknown)}: whether they hold is not known`]
      : []),
    ...(unmeasured.length > 0
      ? [`what callers of ${someOf(callers)} ask of ${servicesText(unmeasured)} is not measured`]
      : []),
  ]
}

/** Traffic between regions costs money and time. */
function regionWarnings(seen: readonly Seen[]): readonly string[] {
  const leaving = seen.flatMap(({ service, was, is }) =>
    [...is.callings].flatMap(([caller, after]) => {
      const before = was.callings.get(caller)
      const gone = leavingRegion({ service, caller: after.caller, after, ...(before ? { before } : {}) })
      return gone ? [{ service, region: after.caller.region }] : []
    }),
  )
  return [...Map.groupBy(leaving, ({ region }) => region)].map(
    ([region, all]) => `more calls than now would leave region ${region}: of ${servicesText(all)}`,
  )
}

const servicesText = (all: readonly { readonly service: ServiceKey }[]): string =>
  someOf([...new Set(all.map(({ service }) => service))])
