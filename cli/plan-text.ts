import { changesBetween, changesText, type PartChange } from '#cli/changes.ts'
import { harmless, table } from '#cli/output.ts'
import { type Paint, plain } from '#cli/paint.ts'
import type { Share, ShownPlan } from '#cli/plan.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** `command`: does the plan; `isDelete`: which takes objects away. */
export type PlanSaid = { readonly command: string; readonly isDelete?: boolean; readonly paint?: Paint }

/** A plan for a person. */
export function planText(plan: ShownPlan, { command, isDelete = false, paint = plain }: PlanSaid): string {
  const { steps, clusters, changes, shares, warnings } = plan
  const told = steps.flatMap((step) => step.warnings.map((text) => `${step.object}: ${text}`))
  const foreseen = warnings.map(({ kind, service, callers, message }) => {
    const who = callers.length === 0 ? '' : `, callers in ${someOf(callers)}`
    return `${kind}: service ${service}${who}: ${message}`
  })
  const all = [...told, ...foreseen]
  const already = isDelete ? 'is not there' : 'stands so already'
  const unchanged = steps.filter((step) => step.unchanged).map(({ object }) => `${object} ${already}\n`)
  const count = (n: number, one: string): string => `${n} ${n === 1 ? one : `${one}s`}`
  const head =
    changes.length === 0
      ? 'No cluster would see a change.\n'
      : `${count(changes.length, 'change')} in ${count(clusters.length, 'cluster')}:\n`
  return [
    ...unchanged,
    head,
    changesText(changesOf(changes), paint),
    ...(shares.length === 0 ? [] : [`\n${table([shareHead, ...shares.map(shareRow)], paint)}`]),
    ...(all.length === 0 ? [] : [`\nWarnings\n${all.map((text) => `  ${harmless(text)}\n`).join('')}`]),
    steps.every((step) => step.unchanged) ? '' : `\nNothing was changed. To do exactly this: ${command}\n`,
  ].join('')
}

/** What is the same for several clusters is told once. */
function changesOf(changes: ShownPlan['changes']): readonly PartChange[] {
  return changes.flatMap(({ key, clusters, before, after }) => {
    const part = `${key} in ${someOf(clusters)}`
    return changesBetween(before === null ? {} : { [part]: before }, after === null ? {} : { [part]: after })
  })
}

const shareHead = ['SERVICE', 'CALLERS', 'BEFORE', 'AFTER', 'REQUESTS/S']

const shareRow = ({ service, callers, before, after, requestsPerSecond, notMeasured }: ShownPlan['shares'][number]) => [
  service,
  someOf(callers, 3),
  sharesText(before),
  sharesText(after),
  requestsPerSecond === null
    ? 'not measured'
    : `${rounded(requestsPerSecond)}${notMeasured > 0 ? ` (${notMeasured} not measured)` : ''}`,
]

/** `paris-1 70 %, oslo-1 30 %`. */
export const sharesText = (shares: readonly Share[]): string =>
  shares.length === 0 ? 'nobody' : someOf(shares.map(({ cluster, share }) => `${cluster} ${rounded(share * 100)} %`))

const rounded = (value: number): string => String(Math.round(value * 10) / 10)
