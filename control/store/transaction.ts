import type { Run } from '#control/store/engine.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * begin, `work`, commit on one connection; a rollback where `work` or any of its statements failed, caught or not. The
 * first statements of `work` travel together with `begin`. What `work` has left running finds the transaction closed: its
 * statements would otherwise be run in that of whoever has the connection next.
 */
export async function transaction<T>(run: Run, work: (run: Run) => Promise<T>): Promise<T> {
  let failed: { readonly error: unknown } | undefined
  let unbegun: { readonly error: unknown } | undefined
  let ended = false
  const check = () => {
    if (failed) throw failed.error
  }
  const begun = run('begin', [], 'execute')
  begun.catch((error: unknown) => {
    unbegun = { error }
  })
  try {
    const result = await work(async (...statement) => {
      if (unbegun) throw unbegun.error
      if (ended) throw new Problem('internal', 'a statement was run in a transaction that has ended')
      try {
        return await run(...statement)
      } catch (error) {
        failed ??= { error }
        throw error
      }
    })
    await begun
    // A statement that failed has ended the transaction already: "commit" would roll back and say nothing.
    check()
    ended = true
    await run('commit', [], 'execute')
    // One that nobody waited for was answered before the commit was.
    check()
    return result
  } catch (error) {
    ended = true
    await run('rollback', [], 'execute').catch(() => undefined)
    throw error
  }
}
