import { addressKey } from '#mesh/model/address.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { ClusterConfig, ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { GatewaySummary } from '#mesh/model/summary.ts'
import type { Admitted, Advice, Traffic } from '#mesh/model/traffic.ts'
import { type ClusterState, defaultFailback, type Failback, type Judged, percentOf } from '#mesh/policy/judge-health.ts'
import type { JudgedServices } from '#mesh/policy/judge-services.ts'

/** The most of a service's calls that a cluster may be given, 0..1. */
export type Caps = ReadonlyMap<ServiceKey, ReadonlyMap<ClusterName, number>>

export type AdmissionFacts = {
  readonly home: ClusterName
  readonly config: ClusterConfig | undefined
  /** By cluster. */
  readonly gateways: ReadonlyMap<string, GatewaySummary>
  readonly judged: Judged
  /** Absent = no service is probed. */
  readonly services?: JudgedServices
  /** Monotonic ms, as the judgement's. */
  readonly now: number
  readonly advice: Advice
  /** Clusters that the centre does not hear and that policies may give up (`lostActing`). */
  readonly lost: ReadonlySet<ClusterName>
  readonly caps: Caps
  readonly peaks: ReadonlyMap<string, number>
}

/**
 * What moves this cluster's callers now, of all that may: verdicts and their return, drains, caps. The least of them
 * counts. Undefined where nothing does. The own cluster is never given up by its own callers: draining it withdraws what
 * it offers to others.
 */
export function trafficOf(facts: AdmissionFacts): Traffic | undefined {
  const traffic: Traffic = {
    gatewaysDown: gatewaysDownOf(facts.judged),
    gatewaysDraining: gatewaysDrainingOf(facts),
    clusters: clustersOf(facts),
    services: servicesOf(facts),
    peaks: facts.peaks,
    closing: isClosing(facts) ? 'all' : closingOf(facts),
    ...gatewaysClosingOf(facts),
  }
  const { gatewaysDown, gatewaysDraining, clusters, services, peaks, closing } = traffic
  const sizes = [gatewaysDown.size, gatewaysDraining.size, clusters.size, services.size, peaks.size]
  const isClosed = closing === 'all' || closing.size > 0 || traffic.gatewaysClosing !== undefined
  return !isClosed && sizes.every((size) => size === 0) ? undefined : traffic
}

const noServices: ReadonlySet<ServiceKey> = new Set()

/** Clusters of which no new call is to go through the gateways of before: nobody judges them, nobody counts on them. */
export const drainedClusters = ({ drains }: Advice): ReadonlySet<ClusterName> =>
  new Set(drains.filter(({ kind }) => kind === 'cluster').map(({ cluster }) => cluster))

function gatewaysClosingOf({ home, advice }: AdmissionFacts): Pick<Traffic, 'gatewaysClosing'> {
  const closing = advice.drains.flatMap(({ kind, cluster, gateway, phase }) =>
    kind === 'gateway' && cluster === home && phase !== 'ramping' && gateway !== undefined ? [gateway] : [],
  )
  return closing.length === 0 ? {} : { gatewaysClosing: new Set(closing) }
}

const isClosing = ({ home, advice }: AdmissionFacts): boolean =>
  advice.drains.some(({ kind, cluster, phase }) => kind === 'cluster' && cluster === home && phase !== 'ramping')

function closingOf({ config }: AdmissionFacts): ReadonlySet<ServiceKey> {
  const closing = [...(config?.exports.values() ?? [])].filter((exported) => exported.closing)
  return closing.length === 0 ? noServices : new Set(closing.map(({ key }) => key))
}

function gatewaysDownOf({ gateways }: Judged): Traffic['gatewaysDown'] {
  const down = new Map<ClusterName, Set<string>>()
  for (const { cluster, address, down: isDown } of gateways.values())
    if (isDown) down.set(cluster, (down.get(cluster) ?? new Set()).add(address))
  return down
}

function gatewaysDrainingOf({ home, advice, gateways }: AdmissionFacts): Traffic['gatewaysDraining'] {
  const draining = new Map<ClusterName, Set<string>>()
  for (const { kind, cluster, gateway, percent } of advice.drains) {
    if (kind !== 'gateway' || cluster === home || percent === 100) continue
    const known = gateways.get(cluster)?.gateways.map(addressKey) ?? []
    const meant = known.find((key) => sha256Hex(key) === gateway)
    if (meant !== undefined) draining.set(cluster, (draining.get(cluster) ?? new Set()).add(meant))
  }
  return draining
}

function clustersOf(facts: AdmissionFacts): Traffic['clusters'] {
  const names = new Set([...facts.judged.clusters.keys(), ...drainedClusters(facts.advice)])
  return new Map(
    [...names].sort().flatMap((cluster) => {
      const one = leastOf(cluster, ofCluster(cluster, defaultFailback, facts))
      return one ? [[cluster, one] as const] : []
    }),
  )
}

/** Only where a service's own differs from what its cluster is given. */
function servicesOf(facts: AdmissionFacts): Traffic['services'] {
  const services = new Map<ServiceKey, ReadonlyMap<ClusterName, Admitted>>()
  for (const [key, imported] of facts.config?.imports ?? []) {
    const caps = facts.caps.get(key)
    if (imported.policy === undefined && imported.drains === undefined && caps === undefined) continue
    const own = new Map(
      imported.sources.flatMap(({ cluster }): [ClusterName, Admitted][] => {
        if (cluster === facts.home && caps?.get(cluster) === undefined) return []
        const general = leastOf(cluster, ofCluster(cluster, defaultFailback, facts))
        const special = leastOf(cluster, ofService(cluster, imported, facts), caps?.get(cluster))
        if (isSame(general, special)) return []
        return [[cluster, special ?? { cluster, percent: 100, why: 'returning' }]]
      }),
    )
    if (own.size > 0) services.set(key, own)
  }
  return services
}

type Reason = Pick<Admitted, 'percent' | 'why'>

function ofCluster(cluster: ClusterName, failback: Failback, { home, judged, advice, now }: AdmissionFacts): Reason[] {
  const state = judged.clusters.get(cluster)
  if (cluster === home) return []
  return [
    ...reasonOf(state, { failback, now, why: state?.phase === 'returned' ? 'returning' : 'dead' }),
    ...advice.drains
      .filter((drain) => drain.kind === 'cluster' && drain.cluster === cluster)
      .map(({ percent }) => ({ percent, why: 'drain' }) as const),
  ]
}

/** What a verdict leaves. */
function reasonOf(
  state: ClusterState | undefined,
  { failback, now, why }: { readonly failback: Failback; readonly now: number; readonly why: Reason['why'] },
): Reason[] {
  return state && state.phase !== 'in' ? [{ percent: percentOf(state, failback, now), why }] : []
}

function ofService(cluster: ClusterName, { key, policy, drains }: ImportedService, facts: AdmissionFacts): Reason[] {
  if (cluster === facts.home) return []
  const probed = facts.services?.get(key)?.judged.clusters.get(cluster)
  const isGivenUp = policy !== undefined && policy.onExporterLost !== 'keep' && facts.lost.has(cluster)
  return [
    ...ofCluster(cluster, policy ?? defaultFailback, facts),
    ...reasonOf(probed, { failback: policy ?? defaultFailback, now: facts.now, why: 'probe' }),
    ...(drains ?? [])
      .filter((drain) => drain.cluster === cluster)
      .map(({ percent }) => ({ percent, why: 'drain' }) as const),
    ...(isGivenUp ? [{ percent: 0, why: 'lost' } as const] : []),
  ]
}

function leastOf(cluster: ClusterName, reasons: readonly Reason[], cap?: number): Admitted | undefined {
  const [least] = reasons.toSorted((a, b) => a.percent - b.percent)
  const isCapped = cap !== undefined && cap < 1
  if (!isCapped && (least === undefined || least.percent === 100)) return undefined
  const reason = least !== undefined && least.percent < 100 ? least : ({ percent: 100, why: 'quota' } as const)
  return { cluster, ...reason, ...(isCapped ? { cap } : {}) }
}

const isSame = (a: Admitted | undefined, b: Admitted | undefined): boolean =>
  a?.percent === b?.percent && a?.why === b?.why && a?.cap === b?.cap
