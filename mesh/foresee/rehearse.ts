import type { Calling, Overload } from '#mesh/foresee/capacities.ts'
import type { Configs } from '#mesh/foresee/config-changes.ts'
import { type ForecastFacts, newForecast, type ServiceForecast } from '#mesh/foresee/forecast.ts'
import type { Lost } from '#mesh/foresee/outlook.ts'
import { type Share, sharesOf } from '#mesh/foresee/planned-shares.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'

/**
 * What becomes of the calls of one cluster to one service. `moves`: to others, who have room as far as is known;
 * `degraded`: they are served by a cluster that would be given more than it says that it is able to take; `lost`: at one
 * port at least nobody would answer who did.
 */
export const verdicts = ['unchanged', 'moves', 'degraded', 'lost'] as const
export type Verdict = (typeof verdicts)[number]

/** What would become of the calls of some clusters to a service. */
export type Rehearsed = {
  readonly service: ServiceKey
  readonly callers: readonly ClusterName[]
  readonly verdict: Verdict
  readonly before: readonly Share[]
  /** Empty = nobody would answer at any port. */
  readonly after: readonly Share[]
  /** Ready pods that serve them; null = not known. */
  readonly ready: { readonly before: number | null; readonly after: number | null }
}

/** A capacity that would be exceeded, and was not, or not by so much. */
export type RehearsedOverload = Overload & { readonly service: ServiceKey }

export type Rehearsal = {
  /** What is taken away, as it was understood. */
  readonly lost: { readonly clusters: readonly ClusterName[]; readonly gateways: readonly string[] }
  readonly worst: Verdict
  /** Pairs of a calling cluster and a service that it may call. */
  readonly counts: Readonly<Record<Verdict, number>>
  /** All that is not unchanged; the worst first. */
  readonly services: readonly Rehearsed[]
  readonly overloads: readonly RehearsedOverload[]
  /** Callers of services with a capacity of which is not known how much they call. */
  readonly notMeasured: readonly ClusterName[]
}

/**
 * What each service would do if clusters or gateways were lost: where its calls go by the compiled config of every
 * cluster that is left, with `spread` and the capacities of policies, as their relays would decide it. Nothing is
 * rendered. Callers in a lost cluster are lost with it, and are not in the answer.
 */
export function rehearse(configs: Configs, facts: ForecastFacts, lost: Lost): Rehearsal {
  const [before, after] = [newForecast(configs, facts), newForecast(configs, facts, lost)]
  const keys = [...new Set([...configs.values()].flatMap(({ imports }) => [...imports.keys()]))].toSorted()
  const counts: Record<Verdict, number> = { unchanged: 0, moves: 0, degraded: 0, lost: 0 }
  const services: Rehearsed[] = []
  const overloads: RehearsedOverload[] = []
  const notMeasured = new Set<ClusterName>()
  for (const service of keys) {
    const [was, is] = [before.service(service), after.service(service)]
    const fresh = freshOverloads(was, is)
    overloads.push(...fresh.map((one) => ({ ...one, service })))
    for (const caller of is.notMeasured) notMeasured.add(caller)
    const crowded = new Set(fresh.filter(({ given, capacity }) => given > capacity).map(({ cluster }) => cluster))
    const rows = new Map<string, { readonly row: Rehearsed; readonly callers: ClusterName[] }>()
    for (const [caller, calling] of is.callings) {
      const row = rehearsed(service, was.callings.get(caller), { calling, crowded })
      counts[row.verdict]++
      if (row.verdict === 'unchanged') continue
      const text = JSON.stringify(row)
      const known = rows.get(text)
      if (known) known.callers.push(caller)
      else rows.set(text, { row, callers: [caller] })
    }
    for (const { row, callers } of rows.values()) services.push({ ...row, callers })
  }
  const rank = ({ verdict }: Rehearsed): number => verdicts.indexOf(verdict)
  return {
    lost: {
      clusters: [...lost.clusters].toSorted(),
      gateways: [...lost.gateways].flatMap(([cluster, all]) => [...all].map((key) => `${cluster}/${key}`)).toSorted(),
    },
    worst: verdicts.findLast((one) => counts[one] > 0) ?? 'unchanged',
    ...{ counts, overloads, notMeasured: [...notMeasured].toSorted() },
    // Equal ranks stay by service.
    services: services.toSorted((a, b) => rank(b) - rank(a)),
  }
}

function rehearsed(
  service: ServiceKey,
  before: Calling | undefined,
  { calling, crowded }: { readonly calling: Calling; readonly crowded: ReadonlySet<ClusterName> },
): Rehearsed {
  const [was, is] = [before?.outlook, calling.outlook]
  const [old, now] = [sharesOf(was), sharesOf(is)]
  const isSame = was === is || JSON.stringify(old) === JSON.stringify(now)
  const verdict = ((): Verdict => {
    if (is.cutPorts.length > (was?.cutPorts.length ?? 0)) return 'lost'
    if (now.some(({ cluster }) => crowded.has(cluster))) return 'degraded'
    return isSame ? 'unchanged' : 'moves'
  })()
  return {
    ...{ service, callers: [], verdict, before: old, after: now },
    ready: { before: was?.ready ?? null, after: is.ready ?? null },
  }
}

/** Those that are there because something is lost. */
export function freshOverloads(before: ServiceForecast, after: ServiceForecast): readonly Overload[] {
  return after.overloads.filter((one) => {
    const was = before.overloads.find(({ cluster, of }) => cluster === one.cluster && of === one.of)
    return was === undefined || one.given > was.given * 1.001
  })
}
