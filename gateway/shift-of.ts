import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { type Shift, shiftServicesMax, type Traffic } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import type { Move } from '#mesh/policy/judge-health.ts'
import { type ServiceMove, serviceEvidence } from '#mesh/policy/judge-services.ts'
import { shareMin, sharesOf } from '#mesh/translate/shares.ts'

export type ShiftFacts = {
  readonly view: View
  readonly before: Traffic | undefined
  readonly after: Traffic | undefined
  /** Unix ms. */
  readonly at: number
  readonly failedMeanwhile: number | null
}

/** A verdict as an event: which services moved, from whom to whom, and on what evidence. */
export function shiftOf(move: Move | ServiceMove, facts: ShiftFacts): Omit<Shift, 'seq'> {
  const { kind, cluster } = move
  const meant = 'service' in move ? move.service : undefined
  const { view, at, failedMeanwhile } = facts
  const views = [withTraffic(view, facts.before), withTraffic(view, facts.after)] as const
  const services: ImportedService['key'][] = []
  const [from, to] = [new Set<ClusterName>(), new Set<ClusterName>()]
  for (const imported of view.config?.imports.values() ?? []) {
    if (meant !== undefined && imported.key !== meant) continue
    if (!imported.sources.some((source) => source.cluster === cluster)) continue
    const [before, after] = [sharesOf(views[0], imported), sharesOf(views[1], imported)]
    const moved = (after.get(cluster) ?? 0) - (before.get(cluster) ?? 0)
    const stays = kind === 'frozen-shift' || kind === 'ramp-done'
    const isNoted = stays ? (after.get(cluster) ?? 0) >= shareMin : Math.abs(moved) >= shareMin
    if (meant === undefined && !isNoted) continue
    services.push(imported.key)
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      const more = (after.get(name) ?? 0) - (before.get(name) ?? 0)
      if (more >= shareMin) to.add(name)
      if (more <= -shareMin) from.add(name)
    }
    if (kind === 'frozen-shift') from.add(cluster)
    if (kind === 'ramp-done') to.add(cluster)
  }
  return {
    ...{ at, kind, cluster, services: services.toSorted().slice(0, shiftServicesMax), servicesCount: services.length },
    ...{ from: [...from].sort(), to: [...to].sort(), evidence: evidenceOf(move), failedMeanwhile },
  }
}

function evidenceOf(move: Move | ServiceMove): Shift['evidence'] {
  const { evidence } = move
  if (!evidence) return {}
  return 'service' in move ? { service: serviceEvidence(move.probe, evidence) } : { probe: evidence }
}

const withTraffic = ({ traffic: _, ...view }: View, traffic: Traffic | undefined): View =>
  traffic ? { ...view, traffic } : view
