import type { Run } from '#control/store/engine.ts'

/**
 * begin, `work`, commit on one connection; a rollback where `work` or any of its statements failed, caught or not. The
 * first statements of `work` travel together with `begin`.
 */
export async function transaction<T>(run: Run, work: (run: Run) => Promise<T>): Promise<T> {
  let failed: { readonly error: unknown } | undefined
  let unbegun: { readonly error: unknown } | undefined
  const begun = run('begin', [], 'execute')
  begun.catch((error: unknown) => {
    unbegun = { error }
  })
  try {
    const result = await work(async (...statement) => {
      if (unbegun) throw unbegun.error
      try {
        return await run(...statement)
      } catch (error) {
        failed ??= { error }
        throw error
      }
    })
    await begun
    // A statement that failed has ended the transaction already: "commit" would roll back and say nothing.
    if (failed) throw failed.error
    await run('commit', [], 'execute')
    return result
  } catch (error) {
    await run('rollback', [], 'execute').catch(() => undefined)
    throw error
  }
}
