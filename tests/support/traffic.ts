/** A steady stream of calls. */
export type Traffic = {
  counts(): { readonly calls: number; readonly failures: readonly string[] }
  /** Resolves when `more` calls that begin from now on have ended. */
  pass(more: number): Promise<void>
  stop(): Promise<void>
}

const keptMax = 20

/** Calls at a steady rate whatever the answers take, as users do; a call fails where `call` rejects. */
export function startTraffic(everyMs: number, call: () => Promise<unknown>): Traffic {
  const failures: string[] = []
  const open = new Set<Promise<void>>()
  const waiting: { left: number; readonly begun: number; readonly done: () => void }[] = []
  let calls = 0
  const started = performance.now()
  const timer = setInterval(() => {
    const number = ++calls
    const one = call()
      .then(
        () => undefined,
        (fault: Error) => {
          if (failures.length < keptMax)
            failures.push(`call ${number} at ${Math.round(performance.now() - started)} ms: ${fault.message}`)
        },
      )
      .then(() => {
        open.delete(one)
        for (const one of waiting) if (number > one.begun && --one.left === 0) one.done()
      })
    open.add(one)
  }, everyMs)
  return {
    counts: () => ({ calls, failures: [...failures] }),
    pass: (more) => new Promise((done) => waiting.push({ left: more, begun: calls, done })),
    stop: async () => {
      clearInterval(timer)
      await Promise.all(open)
    },
  }
}
