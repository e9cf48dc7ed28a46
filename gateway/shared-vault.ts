import type { Vault } from '#gateway/identity/vault.ts'
import type { SharedState } from '#gateway/shared-state.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * A key that the replicas of a relay share: in their Secret, and as each last knew it in `file`, which counts while the
 * API server is away. `save` throws `stale` where another replica saved since this one loaded: what it saved is to be
 * loaded then, and nothing of it is lost.
 */
export function sharedVault(shared: SharedState, entry: string, file: Vault): Vault {
  let known: string | undefined
  return {
    place: `${shared.place} (${entry})`,
    load: async () => {
      const found = await asked()
      if (found === 'away') return await file.load()
      known = found
      if (found === undefined) return await givenBack()
      await file.save(found)
      return found
    },
    save: async (text) => {
      await shared.write(entry, text, known)
      known = text
      await file.save(text)
    },
  }

  async function asked(): Promise<string | undefined | 'away'> {
    try {
      return await shared.read(entry)
    } catch (error) {
      if (error instanceof Problem && error.kind === 'unavailable') return 'away'
      throw error
    }
  }

  /** Somebody deleted the Secret: this replica still has what it held. */
  async function givenBack(): Promise<string | undefined> {
    const held = await file.load()
    if (held === undefined) return undefined
    await shared.write(entry, held, undefined)
    known = held
    return held
  }
}
