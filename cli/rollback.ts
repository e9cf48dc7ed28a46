import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { placed, refusal } from '#cli/failure.ts'
import { historyObject } from '#cli/history-object.ts'
import { harmless } from '#cli/output.ts'
import type { ShownPlan } from '#cli/plan.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What is gone back to: a cluster's revision stands for all policies of its moment. */
export type Moment = { readonly object: string; readonly revision: number }

/** `virginia-1@42`, `gtp/bookinfo/reviews@2`. Throws `invalid`. */
export function momentIn(said: string): Moment {
  const [, object, revision] = /^([^@]{1,200})@([1-9]\d{0,8})$/.exec(said) ?? []
  if (object !== undefined)
    return {
      object: historyObject(object, {
        on: `isthmus rollback ${said}`,
        mend: (near) => `isthmus rollback ${near}@${revision}`,
      }),
      revision: Number(revision),
    }
  throw refusal({
    ...{ kind: 'invalid', why: `"${said}" names no revision`, on: 'isthmus rollback' },
    mend: 'isthmus history lists them: isthmus rollback virginia-1@42, or gtp/bookinfo/reviews@2',
  })
}

/** What going back would do; nothing is changed. */
export const planRollback = async (centre: Centre, to: Moment): Promise<ShownPlan> =>
  (await ask(centre, { path: '/v1/rollbacks?dryRun=true', body: to }, to)) as ShownPlan

type Done = { readonly objects: readonly string[]; readonly warnings: readonly string[] }

/** Goes back; with the hash of a plan only where that is what it does. */
export async function rollBack(
  centre: Centre,
  to: Moment,
  { reason, plan }: { readonly reason: string | undefined; readonly plan: string | undefined },
): Promise<Done> {
  const body = { ...to, ...(reason === undefined ? {} : { reason }) }
  const headers = plan === undefined ? {} : { headers: { 'if-plan': plan } }
  return (await ask(centre, { path: '/v1/rollbacks', body, ...headers }, to)) as Done
}

async function ask(
  centre: Centre,
  call: { readonly path: string; readonly body: object; readonly headers?: Readonly<Record<string, string>> },
  { object, revision }: Moment,
): Promise<unknown> {
  try {
    return (await callCentre(centre, { method: 'POST', ...call })).body
  } catch (error) {
    if (!(error instanceof Problem) || error.extra['away'] === true) throw error
    const { kind, message, violations } = error
    const mends: Readonly<Record<string, string>> = {
      'not-found': message.startsWith('there is no cluster') ? 'isthmus get clusters' : `isthmus history ${object}`,
      stale: `isthmus rollback ${object}@${revision} --plan`,
      invalid: message.startsWith('If-Plan')
        ? `isthmus rollback ${object}@${revision} --plan`
        : `isthmus history ${object}, and take those back one by one that can stand`,
    }
    const mend = mends[kind]
    const said = message.startsWith('If-Plan') ? 'what --plan is given is not the hash of a plan' : message
    throw placed(new Problem(kind, said, { violations, cause: error }), {
      on: `${object}@${revision}`,
      ...(mend === undefined ? {} : { mend }),
    })
  }
}

/** What a plan of a rollback would write or take away. */
export const objectsText = ({ steps }: ShownPlan): string =>
  steps.map(({ object }) => `${harmless(object)}\n`).join('') + (steps.length > 0 ? '\n' : '')
