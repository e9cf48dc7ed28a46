const steps = 10

/**
 * Calls `onOver` after `ms` in which this process ran, and gives back what cancels it. A process that stood still (a
 * stopped machine, a long computation, no processor for it) finds its timers due before it has read what came meanwhile:
 * one timer of ten seconds would then say that the database had not answered, which had, long ago.
 */
export function awakeTimeout(ms: number, onOver: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (left: number): void => {
    timer = setTimeout(() => (left > 1 ? wait(left - 1) : onOver()), ms / steps)
  }
  wait(steps)
  return () => clearTimeout(timer)
}
