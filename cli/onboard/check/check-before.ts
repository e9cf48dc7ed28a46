import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { runChecks } from '#cli/onboard/check/checks.ts'
import type { ClusterApi } from '#cli/onboard/cluster-api.ts'
import type { Say } from '#cli/onboard/steps.ts'

export type BeforeParts = {
  readonly api: ClusterApi
  readonly centre: Centre
  readonly say: Say
  /** Unix ms. */
  readonly now: () => number
}

/** What no waiting mends, and what an installation would make worse. All else may be well by the time that it matters. */
const final = ['kubernetes-version', 'issuer', 'crd-versions', 'other-agents']

/** The checks of `isthmus check --pre`, as a join runs them: what is not well is said. Throws `conflict` where it cannot be. */
export async function checkBefore({ api, centre, say, now }: BeforeParts): Promise<void> {
  const { findings } = await runChecks({ api, centre: () => centre, now, pre: true })
  for (const { id, result, found, fix } of findings) {
    if (result === 'ok') continue
    if (result === 'fail' && final.includes(id))
      throw refusal({
        ...{ kind: 'conflict', why: `${id}: ${found}`, on: api.said },
        mend: `${fix ?? 'isthmus check --pre'}; all that is not well: isthmus check --pre`,
      })
    say(
      'preflight',
      `${id}: ${result === 'unknown' ? 'not known: ' : ''}${found}${fix === undefined ? '' : `; ${fix}`}`,
    )
  }
}
