import type { Centre } from '#control/centre.ts'
import { loadFleet } from '#control/load-fleet.ts'
import { compile } from '#mesh/compile/compile.ts'
import type { ForecastFacts } from '#mesh/foresee/forecast.ts'
import { parseLost } from '#mesh/foresee/parse-lost.ts'
import { type Rehearsal, rehearse } from '#mesh/foresee/rehearse.ts'

/** As many things as one rehearsal loses. */
export const lostMax = 100

/** What each service would do without what `words` name; see `parseLost`. Changes nothing. Throws `invalid`. */
export async function rehearseLoss(
  centre: Centre,
  words: readonly string[],
  facts: () => Promise<ForecastFacts>,
): Promise<Rehearsal> {
  const fleet = await centre.db.read((tx) => loadFleet(tx, centre.mesh, new Map()))
  const configs = compile(fleet)
  const known = await facts()
  return rehearse(configs, known, parseLost(words, { configs, gateways: known.sight.gateways }))
}
