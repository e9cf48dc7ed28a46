import { addressKey } from '#mesh/model/address.ts'
import type { ClusterConfig, ImportedService } from '#mesh/model/cluster-config.ts'
import type { DrainSubject } from '#mesh/model/drain.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Violation } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Summaries } from '#mesh/model/summary.ts'

/** What callers were measured to ask of a service, all clusters together. */
export type Demand = { readonly requestsPerSecond: number; readonly connections: number }

export type DrainFacts = {
  readonly configs: ReadonlyMap<ClusterName, ClusterConfig>
  readonly summaries: Summaries
  /** What else is drained, or on its way out. */
  readonly others: readonly DrainSubject[]
  /** Undefined = not measured. */
  readonly demandOf: (service: ServiceKey) => Demand | undefined
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
 * the caller that would have nobody, and every capacity that would be passed. Who has no ready pod serves nobody, so he
 * is no survivor, and nobody loses him. What is not heard is no survivor either. Callers inside the drained cluster keep
 * its own pods.
 */
export function checkDrain(subject: DrainSubject, facts: DrainFacts): DrainCheck {
  if (subject.kind === 'gateway') return checkGateway(subject, facts)
  const refusals: Violation[] = []
  const survivors = new Map<ServiceKey, Map<ClusterName, ImportedService>>()
  for (const [caller, config] of facts.configs)
    for (const imported of config.imports.values()) {
      if (caller === subject.cluster || !isTouched(subject, imported.key)) continue
      const sight: Sight = { caller, config, imported, facts }
      const ports = imported.ports.map(({ port }) => port).filter((port) => isServing(subject.cluster, port, sight))
      const left = ports.map((port) => ({ port, clusters: survivorsOf(subject, port, sight) }))
      const lost = left.filter(({ clusters }) => clusters.length === 0)
      if (lost.length > 0) refusals.push(nobodyLeft(subject, sight, lost))
      const known = survivors.get(imported.key) ?? new Map<ClusterName, ImportedService>()
      for (const { clusters } of left) for (const cluster of clusters) known.set(cluster, imported)
      if (left.length > 0) survivors.set(imported.key, known)
    }
  return { refusals, ...capacities(survivors, facts) }
}

type Sight = {
  readonly caller: ClusterName
  readonly config: ClusterConfig
  readonly imported: ImportedService
  readonly facts: DrainFacts
}

const isTouched = (subject: DrainSubject, key: ServiceKey): boolean =>
  subject.kind === 'cluster' || (subject.kind === 'service' && subject.service === key)

/** Members of its tiers that a caller can reach at a port and that have a pod ready there. */
function isServing(cluster: ClusterName, port: number, { caller, config, imported, facts }: Sight): boolean {
  const source = imported.sources.find((one) => one.cluster === cluster)
  if (!source?.ports.includes(port)) return false
  if (!imported.tiers.some(({ members }) => members.some((member) => member.cluster === cluster))) return false
  if (readyPods(facts.summaries, cluster, imported.key, port) === 0) return false
  return cluster === caller || source.network === config.network || gatewaysLeft(cluster, facts).length > 0
}

const survivorsOf = (subject: DrainSubject, port: number, sight: Sight): readonly ClusterName[] =>
  sight.imported.sources
    .map(({ cluster }) => cluster)
    .filter((cluster) => isServing(cluster, port, sight))
    .filter(
      (cluster) =>
        cluster === sight.caller ||
        [subject, ...sight.facts.others].every((one) => !leads(one, cluster, sight.imported.key)),
    )

const leads = (subject: DrainSubject, cluster: ClusterName, key: ServiceKey): boolean =>
  subject.cluster === cluster && isTouched(subject, key)

/** Pods that are known to be ready; 0 where nothing was heard. */
const readyPods = (summaries: Summaries, cluster: ClusterName, key: ServiceKey, port: number): number =>
  (summaries.services.get(cluster)?.get(key)?.counts ?? [])
    .filter((count) => count.port === port)
    .reduce((sum, { ready }) => sum + ready, 0)

/** Gateways of a cluster that take traffic. */
const gatewaysLeft = (cluster: ClusterName, { summaries, others }: DrainFacts): readonly string[] =>
  (summaries.gateways.get(cluster)?.gateways ?? [])
    .filter(({ state }) => state !== 'down')
    .map(addressKey)
    .filter((key) => !others.some((one) => one.kind === 'gateway' && one.cluster === cluster && one.gateway === key))

function nobodyLeft(
  { cluster }: DrainSubject,
  { caller, imported, facts }: Sight,
  lost: readonly { readonly port: number }[],
): Violation {
  const { sources, key } = imported
  const gone = sources.filter((source) => facts.others.some((one) => leads(one, source.cluster, key)))
  const drained = gone.map((source) => source.cluster).filter((name) => name !== cluster)
  const idle = sources.map((source) => source.cluster).filter((name) => name !== cluster && !drained.includes(name))
  const reasons = [
    ...(drained.length > 0 ? [`${someOf(drained)} is drained too`] : []),
    ...(idle.length > 0 ? [`${someOf(idle)} has no ready pod, no gateway, or no place in its tiers`] : []),
    ...(drained.length + idle.length === 0 ? ['nobody else offers it'] : []),
  ]
  const ports = lost.length < imported.ports.length ? ` at port ${someOf(lost.map(({ port }) => port))}` : ''
  return {
    path: `${key} for callers of ${caller}`,
    reason: `nobody would be left${ports}: ${reasons.join('; ')}`,
  }
}

function checkGateway(subject: Extract<DrainSubject, { readonly kind: 'gateway' }>, facts: DrainFacts): DrainCheck {
  const { cluster, gateway } = subject
  const left = gatewaysLeft(cluster, facts).filter((key) => key !== gateway)
  if (left.length > 0) return { refusals: [], shortages: [], warnings: [] }
  const used = [...facts.configs].find(([caller, config]) =>
    [...config.imports.values()].some(
      (imported) =>
        caller !== cluster &&
        imported.ports.some(({ port }) => isServing(cluster, port, { caller, config, imported, facts })),
    ),
  )
  if (!used) return { refusals: [], shortages: [], warnings: [] }
  const reason = `no other gateway of ${cluster} would be left for callers of ${used[0]}: drain the cluster instead`
  return { refusals: [{ path: `gateway ${gateway} of ${cluster}`, reason }], shortages: [], warnings: [] }
}

function capacities(
  survivors: ReadonlyMap<ServiceKey, ReadonlyMap<ClusterName, ImportedService>>,
  { demandOf }: DrainFacts,
): Pick<DrainCheck, 'shortages' | 'warnings'> {
  const shortages: Violation[] = []
  const unknown: ServiceKey[] = []
  const unmeasured: ServiceKey[] = []
  for (const [key, clusters] of survivors) {
    const caps = [...clusters].map(([cluster, { tiers }]) => capacityOf(cluster, tiers))
    for (const [what, name] of [
      ['requestsPerSecond', 'requests per second'],
      ['connections', 'connections'],
    ] as const) {
      const said = caps.map((cap) => cap?.[what])
      if (said.every((one) => one === undefined)) continue
      const sum = said.reduce<number>((all, one) => all + (one ?? Number.POSITIVE_INFINITY), 0)
      const demand = demandOf(key)?.[what]
      if (demand === undefined) unmeasured.push(key)
      else if (demand > sum) {
        const have = `${someOf([...clusters.keys()])} declare ${sum} ${name}`
        shortages.push({ path: key, reason: `${have}, and callers ask for ${Math.ceil(demand)}` })
      }
    }
    if (caps.some((cap) => cap === undefined)) unknown.push(key)
  }
  return {
    shortages,
    warnings: [
      ...(unknown.length > 0
        ? [`no capacity is declared of those that take over ${someOf(unknown)}: whether they hold is not known`]
        : []),
      ...(unmeasured.length > 0 ? [`what callers ask of ${someOf(unmeasured)} is not measured`] : []),
    ],
  }
}

const capacityOf = (cluster: ClusterName, tiers: ImportedService['tiers']) =>
  tiers.flatMap(({ members }) => members).find((member) => member.cluster === cluster)?.capacity
