import type { Pauses } from '#gateway/pauses.ts'

/** Work that is asked for often and done at most once in `ms`, at the end of it: what came in between is in it. */
export function paced(pauses: Pick<Pauses, 'later'>, ms: number, work: () => void): { soon(): void } {
  let waiting = false
  return {
    soon: () => {
      if (waiting) return
      waiting = true
      pauses.later(ms, () => {
        waiting = false
        work()
      })
    },
  }
}
