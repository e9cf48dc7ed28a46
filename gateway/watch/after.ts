/**
 * Does `work` once, `ms` later; 0: as soon as all that came together was taken up. Keeps no process alive for longer than
 * one turn of the event loop. Gives back what calls it off.
 */
export function after(ms: number, work: () => void): () => void {
  if (ms === 0) {
    // Not let go as the timer is: the loop sleeps until something else happens when such an immediate is all it has.
    const next = setImmediate(work)
    return () => clearImmediate(next)
  }
  const timer = setTimeout(work, ms).unref()
  return () => clearTimeout(timer)
}
