import { countedIn } from '#gateway/ready-counts.ts'
import type { ImportedService } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { peakKey, type Shift, shiftServicesMax, type Traffic } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import type { Move } from '#mesh/policy/judge-health.ts'
import { placementOf } from '#mesh/policy/placement.ts'

export type ShiftFacts = {
  readonly view: View
  readonly before: Traffic | undefined
  readonly after: Traffic | undefined
  /** Unix ms. */
  readonly at: number
  readonly failedMeanwhile: number | null
}

/** Shares below it are nobody's move. */
const shareMin = 0.001

/** A verdict as an event: which services moved, from whom to whom, and on what evidence. */
export function shiftOf({ kind, cluster, evidence }: Move, facts: ShiftFacts): Omit<Shift, 'seq'> {
  const { view, at, failedMeanwhile } = facts
  const services: ImportedService['key'][] = []
  const [from, to] = [new Set<ClusterName>(), new Set<ClusterName>()]
  for (const imported of view.config?.imports.values() ?? []) {
    if (!imported.sources.some((source) => source.cluster === cluster)) continue
    const [before, after] = [sharesOf(imported, facts.before, view), sharesOf(imported, facts.after, view)]
    const moved = (after.get(cluster) ?? 0) - (before.get(cluster) ?? 0)
    const stays = kind === 'frozen-shift' || kind === 'ramp-done'
    if (stays ? (after.get(cluster) ?? 0) < shareMin : Math.abs(moved) < shareMin) continue
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
    ...{ from: [...from].sort(), to: [...to].sort(), evidence: evidence ? { probe: evidence } : {}, failedMeanwhile },
  }
}

/** Of all calls of a service, whatever its port: the part of each cluster. */
export function sharesOf(
  imported: ImportedService,
  traffic: Traffic | undefined,
  view: View,
): ReadonlyMap<ClusterName, number> {
  const shares = new Map<ClusterName, number>()
  for (const { port } of imported.ports) {
    const counted = (name: ClusterName) => countedOf(view, traffic, { name, key: imported.key, port })
    const [first = []] = placementOf(imported, port, { traffic, counted }).priorities
    for (const placed of first)
      shares.set(placed.cluster, (shares.get(placed.cluster) ?? 0) + placed.share / imported.ports.length)
  }
  return shares
}

function countedOf(
  view: View,
  traffic: Traffic | undefined,
  { name, key, port }: { readonly name: ClusterName; readonly key: ImportedService['key']; readonly port: number },
) {
  const peak = traffic?.peaks.get(peakKey(name, key, port))
  return { ...countedIn(view, name, key, port), ...(peak === undefined ? {} : { peak }) }
}
