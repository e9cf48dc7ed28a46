import { drizzle } from 'drizzle-orm/pg-proxy'
import type { Tx } from '#control/store/database.ts'
import type { Run } from '#control/store/engine.ts'
import { Problem } from '#mesh/model/problem.ts'

const runs = new WeakMap<object, Run>()

/** The query builder whose statements are run by `run`, and those whose text is at hand as well (`runOf`). */
export function txOn(run: Run): Tx {
  const tx: Tx = drizzle((text, params, method) => run(text, params, method))
  runs.set(tx, run)
  return tx
}

/** How a statement is run in `tx`, watched and bounded as those of its query builder are. */
export function runOf(tx: Tx): Run {
  const run = runs.get(tx)
  if (!run) throw new Problem('internal', 'a query builder that was not made by txOn')
  return run
}
