/** The rest between two rounds of a loop. */
export type Rest = {
  /** Rests so long; with `orWoken` until somebody calls `wake`, if that is sooner. */
  for(ms: number, until?: 'orWoken'): Promise<void>
  /** Ends a rest that may be ended; who is not resting has to remember by himself that there is work. */
  wake(): void
  /** Ends the rest under way, whatever it is, and those to come. */
  end(): void
}

/** Keeps no process alive: nothing is lost where one ends while its loops rest. */
export function makeRest(): Rest {
  let over = false
  let current: { readonly mayWake: boolean; readonly done: () => void } | undefined
  return {
    for: (ms, until) =>
      new Promise((resolve) => {
        if (over) return resolve()
        const timer = setTimeout(done, ms)
        timer.unref()
        current = { mayWake: until === 'orWoken', done }
        function done(): void {
          clearTimeout(timer)
          current = undefined
          resolve()
        }
      }),
    wake: () => {
      if (current?.mayWake) current.done()
    },
    end: () => {
      over = true
      current?.done()
    },
  }
}
