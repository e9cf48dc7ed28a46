import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { harmless, table } from '#cli/output.ts'
import { type Paint, plain } from '#cli/paint.ts'
import type { Share } from '#cli/plan.ts'
import { sharesText } from '#cli/plan-text.ts'
import { Problem } from '#mesh/model/problem.ts'
import { someOf } from '#mesh/model/some-of.ts'

const verdicts = ['lost', 'degraded', 'moves', 'unchanged'] as const
type Verdict = (typeof verdicts)[number]

/** What the centre foresees of a loss. */
export type ShownRehearsal = {
  readonly lost: { readonly clusters: readonly string[]; readonly gateways: readonly string[] }
  readonly worst: Verdict
  readonly counts: Readonly<Record<Verdict, number>>
  readonly services: readonly {
    readonly service: string
    readonly callers: readonly string[]
    readonly verdict: Verdict
    readonly before: readonly Share[]
    readonly after: readonly Share[]
    readonly ready: { readonly before: number | null; readonly after: number | null }
  }[]
  readonly overloads: readonly {
    readonly service: string
    readonly cluster: string
    readonly of: 'requestsPerSecond' | 'connections'
    readonly capacity: number
    readonly asked: number
    readonly given: number
  }[]
  readonly notMeasured: readonly string[]
}

export async function rehearse(centre: Centre, lose: readonly string[]): Promise<ShownRehearsal> {
  try {
    return (await callCentre(centre, { method: 'POST', path: '/v1/rehearsals', body: { lose } })).body as ShownRehearsal
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'invalid') throw error
    throw refusal({
      ...{ kind: 'invalid', why: error.message.replace(/^lose\S*: /, ''), on: `--lose ${lose.join(' ')}` },
      ...{ mend: 'isthmus get clusters, and isthmus gateways', cause: error },
      violations: error.violations.map(({ path, reason }) => ({
        path: lose[Number(/\d+/.exec(path)?.[0])] ?? path,
        reason,
      })),
    })
  }
}

/** A rehearsal for a person: what is lost, what each service then does, and whose capacity would not do. */
export function rehearsalText(seen: ShownRehearsal, paint: Paint = plain): string {
  const { lost, counts, services, overloads, notMeasured } = seen
  const what = [
    ...(lost.clusters.length > 0 ? [`cluster ${someOf(lost.clusters)}`] : []),
    ...(lost.gateways.length > 0 ? [`gateway ${someOf(lost.gateways)}`] : []),
  ].join(' and ')
  const counted = verdicts.map((verdict) => `${counts[verdict]} ${verdict}`).join(', ')
  const rows = services.map(({ service, callers, verdict, before, after, ready }) => [
    ...[verdict, service, someOf(callers, 3), sharesText(before), sharesText(after)],
    `${ready.before ?? '?'} → ${ready.after ?? '?'}`,
  ])
  const crowded = overloads.map(
    ({ service, cluster, of, capacity, asked, given }) =>
      `service ${service}: cluster ${cluster} would be asked for ${Math.round(asked)} ${units[of]}, and its capacity is ${capacity}` +
      (given > capacity ? ': nobody has room for the rest' : ': the rest goes elsewhere'),
  )
  const unknown =
    notMeasured.length === 0
      ? []
      : [`what callers in ${someOf(notMeasured)} ask of capacities is not measured, and not in it`]
  return [
    `Without ${harmless(what)}, of the calls from each cluster that is left to each service: ${counted}\n`,
    rows.length === 0 ? '' : `\n${table([head, ...rows], paint)}`,
    ...[...crowded, ...unknown].map((line, at) => `${at === 0 ? '\n' : ''}${harmless(line)}\n`),
  ].join('')
}

const head = ['VERDICT', 'SERVICE', 'CALLERS', 'BEFORE', 'AFTER', 'READY PODS']
const units = { requestsPerSecond: 'requests a second', connections: 'connections' } as const
