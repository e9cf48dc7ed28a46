/** Work that runs one at a time and never needs to run twice for the same reason. */
export type Single = {
  /** Asks for a run; who asks does not wait. What goes wrong in it is for whoever waits. */
  run(): void
  /** Resolves when a run that began after this call has ended; rejects as it does. */
  done(): Promise<void>
}

/** A call while `work` runs makes it run once more afterwards, however many calls there were. */
export function single(work: () => Promise<void>): Single {
  let running: Promise<void> | undefined
  let again = false
  const start = (): Promise<void> => {
    running = repeat().finally(() => {
      running = undefined
    })
    return running
  }
  const repeat = async (): Promise<void> => {
    do {
      again = false
      try {
        await work()
      } catch (error) {
        // Who asked meanwhile is owed a run of its own.
        if (!again) throw error
      }
    } while (again)
  }
  const done = (): Promise<void> => {
    if (!running) return start()
    again = true
    return running
  }
  return { done, run: () => void done().catch(() => undefined) }
}
