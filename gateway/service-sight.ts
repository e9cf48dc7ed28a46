import type { Health } from '#gateway/health/health.ts'
import type { Condition, ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { ServiceEvidence } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import {
  backInMs,
  type ClusterState,
  defaultFailback,
  type Failback,
  type GatewayState,
  healthTimes,
  type Phase,
  percentOf,
} from '#mesh/policy/judge-health.ts'
import { type JudgedService, serviceEvidence, serviceSaw, stateId } from '#mesh/policy/judge-services.ts'

/** A service in a cluster of which its probe has something to say. */
export type ProbedSight = {
  readonly service: ServiceKey
  readonly cluster: ClusterName
  readonly probe: string
  readonly phase: Phase
  readonly percent: number
  /** In this phase for so long. */
  readonly forSeconds: number
  readonly evidence: ServiceEvidence | null
  readonly backInSeconds: number | null
  /** It fails, and callers stay all the same: `all` = it fails wherever it is asked. */
  readonly keptBecause: 'frozen' | 'capped' | 'all' | null
  /** Why nothing can be concluded of what it answers. */
  readonly unsure: string | null
}

type Services = Health['services']

/** All of which there is more to say than that it is well, by service and cluster. */
export function probedSights(services: Services, view: View, now: number): readonly ProbedSight[] {
  const unsure = new Map(services.unsure().map(({ service, cluster, detail }) => [`${service} ${cluster}`, detail]))
  return [...services.judged()]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([service, one]) =>
      [...one.judged.clusters]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([cluster, state]): ProbedSight => {
          const way = view.config?.imports.get(service)?.policy ?? defaultFailback
          return {
            ...{ service, cluster, probe: one.name, phase: state.phase, percent: percentOf(state, way, now) },
            forSeconds: seconds(now - state.since),
            evidence: evidenceOf(one, cluster, state, now),
            backInSeconds: backIn(state, way, now),
            keptBecause: keptBecause(one, cluster, state),
            unsure: unsure.get(`${service} ${cluster}`) ?? null,
          }
        }),
    )
    .filter(({ phase, keptBecause: kept, unsure: why }) => phase !== 'in' || kept !== null || why !== null)
}

const seconds = (ms: number): number => Math.round(ms / 1000)

function backIn(state: ClusterState, way: Failback, now: number): number | null {
  const ms = backInMs(state, way, now)
  return ms === undefined ? null : seconds(ms)
}

const failures = ({ fails }: GatewayState): boolean => fails >= healthTimes.failures

function keptBecause(
  { judged }: JudgedService,
  cluster: ClusterName,
  { phase }: ClusterState,
): ProbedSight['keptBecause'] {
  if (phase !== 'in' && phase !== 'returned') return null
  if (judged.withheld.has(cluster)) return 'frozen'
  if (judged.capped.has(cluster)) return 'capped'
  const state = judged.gateways.get(stateId(cluster))
  return judged.isolated && state && failures(state) ? 'all' : null
}

/** What its verdict stood on; where there is none, what fails now. */
function evidenceOf(
  one: JudgedService,
  cluster: ClusterName,
  state: ClusterState,
  now: number,
): ServiceEvidence | null {
  if (state.evidence) return serviceEvidence(one.name, state.evidence)
  const asked = one.judged.gateways.get(stateId(cluster))
  if (!asked || !failures(asked)) return null
  const { said = '', fails, failingSince = now } = asked
  return { probe: one.name, said, failed: fails, of: fails, forMs: Math.round(now - failingSince) }
}

const conditionsMax = 100

/** What status says of services that are probed. `isBelow`: whether some of its calls are served below its first tier. */
export function serviceConditions(
  sights: readonly ProbedSight[],
  { leftOut, isBelow }: { readonly leftOut: readonly ServiceKey[]; readonly isBelow: (service: ServiceKey) => boolean },
): readonly Condition[] {
  const everywhere = Map.groupBy(
    sights.filter(({ keptBecause: why }) => why === 'all'),
    ({ service }) => service,
  )
  return [
    ...sights.filter(({ phase }) => phase !== 'in').map((one) => outSaid(one, isBelow(one.service))),
    ...sights.filter(({ keptBecause: why }) => why === 'capped').map(cappedSaid),
    ...[...everywhere].map(([service, all]) => everywhereSaid(service, all)),
    ...sights.flatMap((one) => (one.unsure === null ? [] : [unsureSaid(one, one.unsure)])),
    ...(leftOut.length > 0 ? [leftOutSaid(leftOut)] : []),
  ].slice(0, conditionsMax)
}

const sawOf = ({ evidence, probe }: ProbedSight): string =>
  evidence ? `${serviceSaw(evidence)} for ${seconds(evidence.forMs)} s` : `probe ${probe} failed`

function outSaid(one: ProbedSight, isBelow: boolean): Condition {
  const { cluster, phase, percent, backInSeconds } = one
  const then: Record<Phase, string> = {
    in: 'it is in',
    out: 'it is out there until the probe succeeds',
    holding: `the probe succeeds, and it is held back; all is back in ${backInSeconds} s if it stays so`,
    returned: `it has ${percent} % of its share there; all is back in ${backInSeconds} s`,
  }
  return {
    ...{ type: isBelow ? 'ServedBelowFirstTier' : 'ServiceOut', object: `service ${one.service}` },
    reason: { in: 'In', out: 'Out', holding: 'Holding', returned: 'Returning' }[phase],
    message: `in cluster ${cluster}: ${sawOf(one)}; ${then[phase]}`,
  }
}

const cappedSaid = (one: ProbedSight): Condition => ({
  ...{ type: 'EvacuationCapped', reason: 'TooManyOut', object: `service ${one.service}` },
  message:
    `in cluster ${one.cluster}: ${sawOf(one)}; its callers stay because as many of its clusters as may be are out ` +
    'already (a third)',
})

const everywhereSaid = (service: ServiceKey, all: readonly ProbedSight[]): Condition => ({
  ...{ type: 'ServiceProbeFails', reason: 'Everywhere', object: `service ${service}` },
  message:
    `its probe fails in every cluster that is asked, so it moves nobody: ${someOf(all.map((one) => `${one.cluster}: ${sawOf(one)}`))}: ` +
    'look at the service, and at what the probe of its policy asks',
})

const unsureSaid = ({ service, cluster, probe }: ProbedSight, why: string): Condition => ({
  ...{ type: 'ServiceProbeUnsure', reason: 'NotAllowed', object: `service ${service}` },
  message:
    `in cluster ${cluster} its probe ${probe} says nothing about it: ${why}; it moves nobody: let the relays of its callers ` +
    '(ns isthmus-system, sa relay) ask, or take the probe out of the policy',
})

const leftOutSaid = (leftOut: readonly ServiceKey[]): Condition => ({
  ...{ type: 'ServiceProbesLeftOut', reason: 'TooMany', object: `service ${leftOut[0]}` },
  message:
    `the probes of ${leftOut.length} services are not made (${someOf(leftOut)}): all together would be more than a relay ` +
    'asks in a second; raise everySeconds in their policies',
})

/** Until a service has all of its share in some clusters again, in seconds; null where nobody can say. */
export function serviceEndsIn(
  services: Services,
  imported: ImportedService | undefined,
  { clusters, now }: { readonly clusters: readonly ClusterName[]; readonly now: number },
): number | null {
  const states = imported && services.judged().get(imported.key)?.judged.clusters
  const ends = clusters.map((cluster) => {
    const state = states?.get(cluster)
    return state ? backIn(state, imported?.policy ?? defaultFailback, now) : 0
  })
  return ends.some((end) => end === null) ? null : Math.max(0, ...ends.map((end) => end ?? 0))
}

/** In how many services each cluster is out because of a probe. */
export function outByProbe(
  services: Services,
): readonly { readonly cluster: ClusterName; readonly services: number }[] {
  const counts = new Map<ClusterName, number>()
  for (const { judged } of services.judged().values())
    for (const [cluster, { phase }] of judged.clusters)
      counts.set(cluster, (counts.get(cluster) ?? 0) + (phase === 'out' || phase === 'holding' ? 1 : 0))
  return [...counts].map(([cluster, count]) => ({ cluster, services: count }))
}
