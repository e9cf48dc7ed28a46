/**
 * One run of `work` for all who ask while another runs: each gets the outcome of a run that began after it asked, good or
 * bad, and at most one runs at a time.
 */
export function together<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> | undefined
  let next: Promise<T> | undefined
  const ended = () => {
    running = undefined
  }
  const start = (): Promise<T> => {
    next = undefined
    const run = work()
    running = run.then(ended, ended)
    return run
  }
  return () => {
    if (next) return next
    if (!running) return start()
    next = running.then(start)
    return next
  }
}
