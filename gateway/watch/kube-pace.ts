import { Problem } from '#mesh/model/problem.ts'

/** How long the watches of one API server wait, and what wakes them. */
export type Pace = {
  /** Resolves after about `ms`; sooner where `wakes` and another watch finds the server back; at once when all ends. */
  pause(ms: number, wakes?: 'wakes'): Promise<void>
  /** The server is back: nobody who waits for that waits any longer than a moment. */
  wake(): void
  /** Of all the work that is asked for one piece is done at a time, in order. */
  inTurn<T>(work: () => Promise<T>): Promise<T>
}

export type PaceParts = {
  readonly signal: AbortSignal
  /** From 0 to 1. */
  readonly random: () => number
}

/** So long at most after a sign that the server is back: ten watches do not come in one moment. */
const wakeMs = 250

export function openPace({ signal, random }: PaceParts): Pace {
  const sleepers = new Set<() => void>()
  let last: Promise<unknown> = Promise.resolve()
  const sleep = (ms: number, wakes: boolean): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve()
      const done = (): void => {
        clearTimeout(timer)
        sleepers.delete(wake)
        signal.removeEventListener('abort', done)
        resolve()
      }
      let timer = setTimeout(done, ms)
      const wake = (): void => {
        sleepers.delete(wake)
        clearTimeout(timer)
        timer = setTimeout(done, random() * Math.min(ms, wakeMs))
      }
      if (wakes) sleepers.add(wake)
      signal.addEventListener('abort', done)
    })
  return {
    pause: (ms, wakes) => sleep(ms, wakes !== undefined),
    wake: () => {
      for (const wake of [...sleepers]) wake()
    },
    inTurn: (work) => {
      const next = last.then(work, work)
      last = next.catch(() => undefined)
      return next
    },
  }
}

export type Backoff = { readonly firstMs: number; readonly maxMs: number }

/** Twice as long each time, half of it by chance; never sooner than the server asked for. */
export function backoffMs(failures: number, { firstMs, maxMs }: Backoff, cause: unknown, random: () => number): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 16))
  const asked = cause instanceof Problem ? Number(cause.extra['retryAfterSeconds'] ?? 0) : 0
  return Math.max(full * (0.5 + random() / 2), Math.min(asked, retryAfterSecondsMax) * 1000 * (1 + random() / 10))
}

const retryAfterSecondsMax = 300
