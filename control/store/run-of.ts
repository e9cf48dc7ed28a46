import type { Run } from '#control/store/engine.ts'

const runs = new WeakMap<object, Run>()

/** Says how statements of `tx` are run, for those whose text is at hand. */
export function carryRun<T extends object>(tx: T, run: Run): T {
  runs.set(tx, run)
  return tx
}

/** How a statement is run in `tx`, watched and bounded as those of its query builder are; undefined where nobody said. */
export const runOf = (tx: object): Run | undefined => runs.get(tx)
