import { callCentre, listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { age, cell, harmless, type Row } from '#cli/output.ts'
import type { Paint } from '#cli/paint.ts'
import { self, typeable } from '#mesh/model/failure-text.ts'

/** What an operator's hand does to traffic now: drains that are not undone, and whether it is frozen. */
export type HandOnTraffic = { readonly drains: readonly Row[]; readonly freeze: Row }

/** Nothing where the centre does not answer, or is one of before there were drains. */
export async function readHand(centre: Centre): Promise<HandOnTraffic> {
  const [drains, freeze] = await Promise.all([
    listAll(centre, '/v1/drains').catch(() => []),
    callCentre(centre, { method: 'GET', path: '/v1/freeze' }).then(
      ({ body }) => body as Row,
      () => ({}),
    ),
  ])
  return { drains: drains.filter(({ state }) => state !== 'undone'), freeze }
}

/** What an operator does to traffic now: a person who looks for a reason finds it here first. */
export function trafficText({ drains, freeze }: HandOnTraffic, now: number, paint: Paint): string {
  const lines = [
    ...(freeze['frozen'] === true
      ? [
          `frozen since ${age(freeze['at'], now)}, by ${cell(freeze['by'])}: ${cell(freeze['reason'])}; undo: ${self} unfreeze`,
        ]
      : []),
    ...drains.map(
      (one) =>
        `${cell(one['kind'])} ${cell(one['subject'])} is drained since ${age(one['startedAt'], now)}: ${cell(one['state'])}, ` +
        `${cell(one['percent'])} %: ${typeable(cell(one['why']))}; undo: ${self} undrain ${cell(one['kind'])} ${cell(one['subject'])}`,
    ),
  ].map(harmless)
  return lines.length === 0 ? '' : `\n${paint('head', 'Traffic')}\n${lines.map((line) => `  ${line}\n`).join('')}`
}
