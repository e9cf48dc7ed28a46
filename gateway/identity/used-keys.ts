import { Problem } from '#mesh/model/problem.ts'

const againMs = 5 * 60_000

/** Whose key it is and since when, for as many as are remembered. */
export type UsedKeys = {
  /**
   * Throws `invalid` for a key that was certified before: for somebody else, or for the same asker longer ago than five
   * minutes. Sooner it is the request whose answer was lost, which Istio's agents send up to five times.
   */
  check(keySha256: string, asker: string): void
  /** The key was certified. */
  add(keySha256: string, asker: string, at: number): void
}

/** A key that is forgotten (the oldest first, past `max`) may be certified again, once its certificates have long ended. */
export function usedKeys(clock: () => Date, max = 100_000): UsedKeys {
  const known = new Map<string, { readonly asker: string; readonly at: number }>()
  return {
    check: (key, asker) => {
      const before = known.get(key)
      if (!before || (before.asker === asker && clock().getTime() - before.at <= againMs)) return
      throw new Problem('invalid', 'the key of this request was certified before: make a new one for each request', {
        violations: [{ path: 'csr', reason: 'asks for a key that was certified before' }],
      })
    },
    add: (key, asker, at) => {
      if (known.has(key)) return
      known.set(key, { asker, at })
      if (known.size > max) for (const oldest of known.keys()) if (known.delete(oldest)) break
    },
  }
}
