import type { Run } from '#control/store/engine.ts'

/** begin, `work`, commit on one connection; a rollback where `work` or any of its statements failed, caught or not. */
export async function transaction<T>(run: Run, work: (run: Run) => Promise<T>): Promise<T> {
  let failed: { readonly error: unknown } | undefined
  await run('begin', [], 'execute')
  try {
    const result = await work(async (...statement) => {
      try {
        return await run(...statement)
      } catch (error) {
        failed ??= { error }
        throw error
      }
    })
    // A statement that failed has ended the transaction already: "commit" would roll back and say nothing.
    if (failed) throw failed.error
    await run('commit', [], 'execute')
    return result
  } catch (error) {
    await run('rollback', [], 'execute').catch(() => undefined)
    throw error
  }
}
