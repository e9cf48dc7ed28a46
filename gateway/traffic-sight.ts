import type { Observed } from '#gateway/metrics.ts'
import { outByProbe, type ProbedSight, probedSights, serviceConditions, serviceEndsIn } from '#gateway/service-sight.ts'
import type { TrafficKeeper } from '#gateway/traffic-keeper.ts'
import type { Condition, ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Admitted, Shift, Traffic } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import {
  backInMs,
  type ClusterState,
  defaultFailback,
  type Failback,
  type Phase,
  type ProbeEvidence,
  percentOf,
} from '#mesh/policy/judge-health.ts'
import { firstTierOf, sharesOf } from '#mesh/translate/shares.ts'

/** A service of which some calls are served below its first tier. */
export type Below = {
  readonly service: ServiceKey
  readonly servedBy: readonly ClusterName[]
  readonly firstTier: readonly ClusterName[]
  /** Of its calls that the first tier still gets. */
  readonly percent: number
  readonly why: Admitted['why'] | 'readiness'
  /** Until the first tier has all of it again; null where nobody can say. */
  readonly backInSeconds: number | null
}

export type TrafficStatus = {
  readonly isolated: boolean
  readonly frozen: { readonly by: string; readonly reason: string; readonly at: number } | null
  readonly clusters: readonly {
    readonly cluster: ClusterName
    readonly phase: Phase
    readonly percent: number
    /** In this phase for so long. */
    readonly forSeconds: number
    readonly gatewaysDown: readonly string[]
    readonly evidence: ProbeEvidence | null
    readonly backInSeconds: number | null
    /** Dead, and in all the same. */
    readonly keptBecause: 'frozen' | 'capped' | null
  }[]
  /** Those of which their probes say more than that all is well. */
  readonly services: readonly ProbedSight[]
  readonly below: readonly Below[]
  readonly shifts: readonly Shift[]
}

/** What a relay shows of its callers' traffic. What takes time to find is found once for each view. */
export type TrafficSight = {
  status(): TrafficStatus
  conditions(): readonly Condition[]
  observed(): Observed['traffic']
  /** Services of which calls are served below their first tier. */
  below(): readonly ServiceKey[]
}

export function trafficSight(keeper: Pick<TrafficKeeper, 'health'>, view: () => View): TrafficSight {
  let last: { readonly from: readonly unknown[]; readonly below: readonly Omit<Below, 'backInSeconds'>[] } | undefined
  return { status, conditions, observed, below: () => below().map(({ service }) => service) }

  function status(): TrafficStatus {
    const { judged, services, advice, now, log } = keeper.health()
    const { isolated, capped, withheld, gateways, clusters } = judged()
    const down = [...gateways.values()].filter((one) => one.down)
    return {
      ...{ isolated, frozen: advice.frozen ?? null },
      clusters: [...clusters]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([cluster, state]) => ({
          ...{ cluster, phase: state.phase, percent: percentOf(state, defaultFailback, now) },
          forSeconds: seconds(now - state.since),
          gatewaysDown: down.filter((one) => one.cluster === cluster).map(({ address }) => address),
          evidence: state.evidence ?? null,
          backInSeconds: backIn(state, now),
          keptBecause: withheld.has(cluster) ? 'frozen' : capped.has(cluster) ? 'capped' : null,
        })),
      services: probedSights(services, view(), now).slice(0, belowMax),
      below: below().slice(0, belowMax),
      shifts: log.recent(),
    }
  }

  function below(): readonly Below[] {
    const { judged, services, now } = keeper.health()
    const { clusters } = judged()
    const { config, summaries, own, traffic } = view()
    const from = [config, summaries, own, traffic]
    if (!last?.from.every((one, at) => one === from[at])) last = { from, below: belowNow(view()) }
    return last.below.map((one) => {
      const imported = config?.imports.get(one.service)
      const ends = one.firstTier.map((cluster) => {
        const state = clusters.get(cluster)
        return state ? backInMs(state, imported?.policy ?? defaultFailback, now) : 0
      })
      const probed = serviceEndsIn(services, imported, { clusters: one.firstTier, now })
      const isKnown = one.why !== 'readiness' && one.why !== 'drain' && !ends.includes(undefined) && probed !== null
      const end = Math.max(probed ?? 0, ...ends.map((ms) => seconds(ms ?? 0)))
      return { ...one, backInSeconds: isKnown ? end : null }
    })
  }

  /** How the services that a cluster's absence keeps below their first tier let it come back. */
  function failbacksOf(all: readonly Below[], cluster: ClusterName): readonly Failback[] {
    const { imports } = view().config ?? {}
    const kept = all.filter(({ firstTier }) => firstTier.includes(cluster))
    return kept.map(({ service }) => imports?.get(service)?.policy ?? defaultFailback)
  }

  function conditions(): readonly Condition[] {
    const { judged, services, advice, unread, wrong, now } = keeper.health()
    const { isolated, clusters, capped } = judged()
    const home = `cluster ${view().home.cluster}`
    const all = below()
    return [
      ...(advice.frozen ? [frozenSaid(advice.frozen, home)] : []),
      ...(isolated ? [isolatedSaid(home)] : []),
      ...[...clusters].flatMap(([cluster, state]) =>
        state.phase === 'in' ? [] : [outSaid(cluster, state, { now, below: failbacksOf(all, cluster) })],
      ),
      ...[...capped].map(cappedSaid),
      ...serviceConditions(probedSights(services, view(), now), {
        leftOut: services.leftOut(),
        isBelow: (service) => all.some((one) => one.service === service),
      }),
      ...wrong()
        .slice(0, wrongMax)
        .map(({ cluster, address, detail }) => ({
          ...{ type: 'GatewayProbeWrong', reason: 'Trust', object: `gateway ${address}` },
          message:
            `${address} of cluster ${cluster} answers, and not as one of its gateways: ${detail}; its callers stay: ` +
            `look at that gateway's certificate and at this cluster's clock`,
        })),
      ...(unread.length > 0 ? [unreadSaid(unread, home)] : []),
    ]
  }

  function observed(): Observed['traffic'] {
    const { judged, services, advice, counts, log, now } = keeper.health()
    const { isolated, clusters, gateways } = judged()
    const down = [...gateways.values()].filter((one) => one.down)
    return {
      ...{ isolated, frozen: advice.frozen !== undefined, belowFirstTier: below().length },
      probes: [...counts()].map(([cluster, results]) => ({ cluster, results })),
      serviceProbes: [...services.counts()].map(([cluster, results]) => ({ cluster, results })),
      servicesOut: outByProbe(services),
      probesLeftOut: services.leftOut().length,
      clusters: [...clusters].map(([cluster, state]) => ({
        ...{ cluster, percent: percentOf(state, defaultFailback, now) },
        gatewaysDown: down.filter((one) => one.cluster === cluster).length,
      })),
      shifts: log.counts(),
    }
  }
}

const belowMax = 500
const wrongMax = 100
/** Less than this is nobody's business. */
const belowMin = 0.005
const seconds = (ms: number): number => Math.round(ms / 1000)

function backIn(state: ClusterState, now: number): number | null {
  const ms = backInMs(state, defaultFailback, now)
  return ms === undefined ? null : seconds(ms)
}

function belowNow(view: View): readonly Omit<Below, 'backInSeconds'>[] {
  const { config, traffic } = view
  return [...(config?.imports.values() ?? [])].flatMap((imported) => {
    const firstTier = firstTierOf(imported)
    const shares = sharesOf(view, imported)
    const first = firstTier.reduce((sum, cluster) => sum + (shares.get(cluster) ?? 0), 0)
    if (shares.size === 0 || first > 1 - belowMin) return []
    const servedBy = [...shares].flatMap(([cluster, share]) => (share >= belowMin ? [cluster] : []))
    const percent = Math.round(first * 100)
    return [{ service: imported.key, servedBy, firstTier, percent, why: whyBelow(firstTier, imported, traffic) }]
  })
}

/** What keeps the first tier's clusters from their shares most; where nothing does, it is their pods. */
function whyBelow(
  firstTier: readonly ClusterName[],
  { key, drains = [] }: ImportedService,
  traffic: Traffic | undefined,
): Below['why'] {
  const reasons = firstTier.flatMap((cluster) => [
    ...[traffic?.services.get(key)?.get(cluster) ?? traffic?.clusters.get(cluster) ?? []].flat(),
    ...drains.filter((drain) => drain.cluster === cluster).map(({ percent }) => ({ percent, why: 'drain' as const })),
  ])
  const [least] = reasons.toSorted((a, b) => a.percent - b.percent)
  return least?.why ?? 'readiness'
}

const frozenSaid = ({ by, reason }: { by: string; reason: string }, object: string): Condition => ({
  ...{ type: 'TrafficFrozen', reason: 'Frozen', object },
  message: `no verdict about health moves callers: frozen by ${by}: ${reason}; undo: isthmus unfreeze`,
})

const isolatedSaid = (object: string): Condition => ({
  ...{ type: 'Isolated', reason: 'NobodyAnswers', object },
  message:
    'no gateway of any other cluster answers this relay: it takes itself for the one that is cut off and moves nobody: ' +
    "look at this cluster's network",
})

const cappedSaid = (cluster: ClusterName): Condition => ({
  ...{ type: 'EvacuationCapped', reason: 'TooManyOut', object: `cluster ${cluster}` },
  message:
    `the gateways of ${cluster} do not answer, and its callers stay because as many clusters as may be are out already ` +
    '(a third); their proxies avoid what fails',
})

const unreadSaid = (unread: readonly string[], object: string): Condition => ({
  ...{ type: 'AdviceUnread', reason: 'NotUnderstood', object },
  message: `the centre says what this relay does not understand: ${someOf(unread, 5)}; it may be the newer one`,
})

function outSaid(
  cluster: ClusterName,
  state: ClusterState,
  { now, below }: { readonly now: number; readonly below: readonly Failback[] },
): Condition {
  const { evidence } = state
  const saw = evidence
    ? `${evidence.failed} of its ${evidence.of} gateways did not answer (${evidence.last}) for ${seconds(evidence.forMs)} s`
    : 'its gateways did not answer'
  const ways = below.length === 0 ? [defaultFailback] : below
  const back = seconds(Math.max(...ways.map((way) => backInMs(state, way, now) ?? 0)))
  const percent = Math.min(...ways.map((way) => percentOf(state, way, now)))
  const then: Record<Exclude<Phase, 'in'>, string> = {
    out: 'it is out until they answer',
    holding: `they answer, and it is held back; all is back in ${back} s if they stay so`,
    returned: `it has ${percent} % of its share; all is back in ${back} s`,
  }
  const count =
    below.length === 0 ? 'no service is' : below.length === 1 ? '1 service is' : `${below.length} services are`
  return {
    ...{ type: below.length === 0 ? 'ClusterOut' : 'ServedBelowFirstTier', object: `cluster ${cluster}` },
    reason: { in: 'In', out: 'Out', holding: 'Holding', returned: 'Returning' }[state.phase],
    message: `${saw}; ${state.phase === 'in' ? 'it is in' : then[state.phase]}; ${count} below ${below.length > 1 ? 'their' : 'its'} first tier`,
  }
}
