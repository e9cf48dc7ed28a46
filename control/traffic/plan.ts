import type { Centre } from '#control/centre.ts'
import { loadNumberedFleet } from '#control/load-fleet.ts'
import type { Tx } from '#control/store/database.ts'
import { nextFleet, type Wish } from '#control/traffic/next-fleet.ts'
import type { ForecastFacts } from '#mesh/foresee/forecast.ts'
import { type Plan, planOf, type Step } from '#mesh/foresee/plan.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { Fleet } from '#mesh/model/fleet.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'

/** As many objects as one plan takes. */
export const wishesMax = 100

/** What is asked for one object: `unchanged` where it stands so already. */
export type PlannedWish = {
  readonly object: string
  readonly hash: string
  readonly unchanged: boolean
  readonly warnings: readonly string[]
}

export type CentrePlan = Omit<Plan, 'steps'> & { readonly steps: readonly PlannedWish[] }

/**
 * What changes of policies and groups would do, in their order; nothing is stored. Throws what doing them would, and
 * `invalid` for an object that is named twice.
 */
export async function planChanges(
  centre: Centre,
  wishes: readonly Wish[],
  facts: () => Promise<ForecastFacts>,
): Promise<CentrePlan> {
  refuseTwice(wishes)
  const { fleet, steps, nexts } = await centre.db.read((tx) => stepsOf(tx, centre, wishes))
  const plan = planOf(fleet, steps, await facts())
  const told = nexts.map(({ isChange, warnings }, at): PlannedWish => {
    const [wish, step] = [wishes[at], plan.steps[at]]
    return { object: wish ? objectOf(wish) : '', hash: step?.hash ?? '', unchanged: !isChange, warnings }
  })
  return { ...plan, steps: told }
}

async function stepsOf(tx: Tx, centre: Centre, wishes: readonly Wish[]) {
  const { fleet, policies } = await loadNumberedFleet(tx, centre.mesh, new Map())
  const nexts: Awaited<ReturnType<typeof nextFleet>>[] = []
  const steps: Step[] = []
  const refused: Problem[] = []
  let last: Fleet = fleet
  for (const [at, wish] of wishes.entries()) {
    const next = await nextFleet(tx, last, wish).catch((error: unknown) => {
      if (!(error instanceof Problem)) throw error
      refused.push(placed(error, wish, placeOf(wishes, at)))
    })
    if (!next) continue
    const done = nexts.filter(({ isChange }) => isChange).length
    steps.push({ wish: wishJson(wish), policies: policies + done, after: next.fleet })
    nexts.push(next)
    last = next.fleet
  }
  const [first, ...more] = refused
  if (!first) return { fleet, steps, nexts }
  const violations = refused.flatMap((one) => one.violations)
  const others = more.length > 0 ? `; ${more.length} more of ${wishes.length} objects are refused too` : ''
  throw new Problem(first.kind, `${first.message}${others}`, { violations, cause: first })
}

/** Where a request to plan holds it: what is taken away stands last, in a list of its own. */
function placeOf(wishes: readonly Wish[], at: number): string {
  const written = wishes.filter(({ spec }) => spec !== undefined).length
  return wishes[at]?.spec === undefined ? `remove[${at - written}]` : `objects[${at}]`
}

/** The same problem, with the object that it is about and its place. */
function placed(problem: Problem, wish: Wish, place: string): Problem {
  const { kind, message, cause } = problem
  const object = objectOf(wish)
  const said = message.startsWith(object) ? message : `${object}: ${message}`
  const found = problem.violations.length > 0 ? problem.violations : [{ path: '', reason: message }]
  const violations = found.map(({ path, reason }): Violation => ({ path: path ? `${place}.${path}` : place, reason }))
  return new Problem(kind, said, { violations, cause })
}

/** Enough for a hash, which is over config alone. */
export const noFacts: ForecastFacts = { sight: { services: new Map(), gateways: new Map() }, demands: new Map() }

/**
 * The number of the last change of policies that the plan `hash` stands on. Throws `stale` where the change would do
 * something else by now. Whoever then finds that number under the lock of policies does what was planned.
 */
export async function checkPlan(centre: Centre, wish: Wish, hash: string): Promise<number> {
  const { fleet, steps } = await centre.db.read((tx) => stepsOf(tx, centre, [wish]))
  if (planOf(fleet, steps, noFacts).hash !== hash) throw stalePlan(wish)
  return steps[0]?.policies ?? 0
}

/** Throws `stale` where policies changed after the plan was checked. */
export function checkPlanned(wish: Wish, planned: number | undefined, policies: number): void {
  if (planned !== undefined && planned !== policies) throw stalePlan(wish)
}

const stalePlan = (wish: Wish): Problem =>
  new Problem(
    'stale',
    `${objectOf(wish)}: the fleet has moved on since it was planned, so the change would do something else by now: plan it again`,
  )

/** How messages name it: `policy bookinfo/reviews`. */
export const objectOf = (wish: Wish): string =>
  wish.kind === 'SamenessGroup' ? `group ${wish.name}` : `policy ${wish.namespace}/${wish.name}`

const wishJson = (wish: Wish): Json => {
  const { kind, name, spec } = wish
  const namespace = wish.kind === 'SamenessGroup' ? '' : wish.namespace
  return { kind, namespace, name, spec: spec === undefined ? null : (spec as Json) }
}

function refuseTwice(wishes: readonly Wish[]): void {
  const names = wishes.map(objectOf)
  const violations = names.flatMap((name, at) =>
    names.indexOf(name) < at ? [{ path: placeOf(wishes, at), reason: `${name} is named before already` }] : [],
  )
  const [first] = violations
  if (first) throw new Problem('invalid', `${first.path}: ${first.reason}: say each object once`, { violations })
}
