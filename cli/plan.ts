import type { FileObject } from '#cli/apply.ts'
import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { pathOf } from '#cli/object-path.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

/** A plan as the centre gives it. */
export type ShownPlan = {
  readonly hash: string
  readonly steps: readonly {
    readonly object: string
    readonly hash: string
    readonly unchanged: boolean
    readonly warnings: readonly string[]
  }[]
  readonly clusters: readonly { readonly cluster: string; readonly changes: number }[]
  readonly changes: readonly {
    readonly key: string
    readonly clusters: readonly string[]
    readonly before: Json
    readonly after: Json
  }[]
  readonly shares: readonly {
    readonly service: string
    readonly callers: readonly string[]
    readonly before: readonly Share[]
    readonly after: readonly Share[]
    readonly requestsPerSecond: number | null
    readonly notMeasured: number
  }[]
  readonly warnings: readonly {
    readonly kind: string
    readonly service: string
    readonly callers: readonly string[]
    readonly message: string
  }[]
}
export type Share = { readonly cluster: string; readonly share: number }

const plannedKinds = ['GlobalTrafficPolicy', 'SamenessGroup']

/** What the objects of a file would do if they were applied, or deleted. Throws what that would. */
export async function planOf(centre: Centre, objects: readonly FileObject[], isDelete: boolean): Promise<ShownPlan> {
  const wishes = objects.map((object) => {
    const { at, kind, namespace, name, spec } = object
    pathOf(object)
    if (plannedKinds.includes(kind)) return { kind, namespace, name, ...(isDelete ? {} : { spec }) }
    throw refusal({
      ...{ kind: 'invalid', on: at, why: `a plan is made of ${plannedKinds.join(' and ')}, not of ${kind}` },
      mend: `isthmus apply --dry-run -f ${shellWord(at.replace(/:\d+$/, ''))}`,
    })
  })
  const body = isDelete ? { remove: wishes } : { objects: wishes }
  try {
    return (await callCentre(centre, { method: 'POST', path: '/v1/plans', body })).body as ShownPlan
  } catch (error) {
    throw error instanceof Problem ? inFile(error, objects) : error
  }
}

/** A refusal of the centre, which counts objects, in the words of who wrote the file. */
function inFile(problem: Problem, objects: readonly FileObject[]): Problem {
  const { kind, violations } = problem
  if (kind !== 'invalid' && kind !== 'conflict') return problem
  const placed = violations.map(({ path, reason }) => {
    const [, at, field = ''] = /^(?:objects|remove)[.[](\d+)\]?\.?(.*)$/.exec(path) ?? []
    const object = at === undefined ? undefined : objects[Number(at)]
    return { object, path: object ? `${object.at} ${field}`.trim() : path, reason }
  })
  const first = placed.find(({ object }) => object !== undefined)?.object ?? objects[0]
  return refusal({
    kind,
    why: problem.message.replace(/^(?:objects|remove)\b\S*: /, ''),
    on: placed.some(({ object }) => object !== undefined) ? (first?.at ?? '-') : String(problem.extra['on'] ?? '-'),
    mend:
      kind === 'invalid'
        ? 'correct the file, then repeat the command'
        : 'take it out of those policies first: isthmus get global-traffic-policies',
    violations: placed.map(({ path, reason }) => ({ path, reason })),
    cause: problem,
  })
}

/**
 * The hash by which each object is to be changed, so that nothing else is done than what the plan `hash` showed. Throws
 * `stale` where the objects would do something else by now.
 */
export async function stepsOf(
  centre: Centre,
  objects: readonly FileObject[],
  { hash, isDelete }: { readonly hash: string; readonly isDelete: boolean },
): Promise<readonly string[]> {
  const plan = await planOf(centre, objects, isDelete)
  if (plan.hash === hash || plan.steps.every((step) => step.unchanged)) return plan.steps.map((step) => step.hash)
  throw refusal({
    kind: 'stale',
    why: 'this is not the plan any more: the fleet has moved on, or the file is another one; nothing was changed',
    on: hash === '' ? 'a plan without a hash' : `plan ${hash.slice(0, 12)}`,
    mend: `isthmus plan ${isDelete ? '--delete ' : ''}${filesOf(objects)}, and look at it again`,
  })
}

/** As they were said: places without their lines. */
const filesOf = (objects: readonly FileObject[]): string =>
  [...new Set(objects.map(({ at }) => at.replace(/:\d+$/, '')))].map((file) => `-f ${shellWord(file)}`).join(' ')
