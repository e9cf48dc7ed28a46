import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import {
  type ClusterState,
  type Judged,
  nothingJudged,
  type Phase,
  type ProbeEvidence,
} from '#mesh/policy/judge-health.ts'
import type { JudgedService, JudgedServices } from '#mesh/policy/judge-services.ts'

/** One cluster's state as it outlives its relay: how long ago, not when, because monotonic clocks begin anew. */
export type KeptCluster = {
  readonly cluster: ClusterName
  readonly phase: Phase
  readonly flaps: number
  readonly sinceMs: number
  /** How far hold and ramp had come. */
  readonly goodMs?: number
  readonly returnedMs?: number
  readonly quietMs?: number
  readonly evidence?: ProbeEvidence
}

/** What a relay that starts again has to know, so that its first answer is the last one: all that is not simply in. */
export function keptHealth(judged: Judged, now: number): readonly KeptCluster[] {
  const ago = (at: number | undefined): number | undefined => (at === undefined ? undefined : Math.max(0, now - at))
  return [...judged.clusters]
    .filter(([, { phase, flaps }]) => phase !== 'in' || flaps > 0)
    .map(([cluster, state]) => ({
      cluster,
      phase: state.phase,
      flaps: state.flaps,
      sinceMs: now - state.since,
      ...defined({ goodMs: ago(state.goodSince), returnedMs: ago(state.returnedAt), quietMs: ago(state.quietSince) }),
      ...(state.evidence ? { evidence: state.evidence } : {}),
    }))
}

/**
 * The state after a restart. `downMs` is how long the relay was away: a hold or a ramp goes on from where it was and not
 * a step further, because nobody looked meanwhile; what only tells people or ends a hold-down counts on. Of the probes
 * nothing is known: who is out has to be well anew.
 */
export function restoredHealth(kept: readonly KeptCluster[], now: number, downMs: number): Judged {
  const awayMs = Math.max(0, downMs)
  const clusters = kept.map(({ cluster, phase, flaps, evidence, ...ms }): [ClusterName, ClusterState] => [
    cluster,
    {
      phase,
      flaps,
      since: now - ms.sinceMs - awayMs,
      ...(ms.goodMs === undefined ? {} : { goodSince: now - ms.goodMs }),
      ...(ms.returnedMs === undefined ? {} : { returnedAt: now - ms.returnedMs - awayMs }),
      ...(ms.quietMs === undefined ? {} : { quietSince: now - ms.quietMs - awayMs }),
      ...(evidence ? { evidence } : {}),
    },
  ])
  return { ...nothingJudged(now), clusters: new Map(clusters) }
}

/** The same of one service, with the question that its verdicts answer. */
export type KeptService = {
  readonly service: ServiceKey
  readonly probe: string
  readonly name: string
  readonly clusters: readonly KeptCluster[]
}

export const keptServices = (services: JudgedServices, now: number): readonly KeptService[] =>
  [...services]
    .map(([service, { probe, name, judged }]) => ({ service, probe, name, clusters: keptHealth(judged, now) }))
    .filter(({ clusters }) => clusters.length > 0)

export const restoredServices = (kept: readonly KeptService[], now: number, downMs: number): JudgedServices =>
  new Map(
    kept.map(({ service, probe, name, clusters }): [ServiceKey, JudgedService] => [
      service,
      { probe, name, judged: restoredHealth(clusters, now, downMs) },
    ]),
  )

function defined(ms: { [name: string]: number | undefined }): { readonly [name: string]: number } {
  return Object.fromEntries(Object.entries(ms).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}
