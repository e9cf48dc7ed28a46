import { Problem } from '#mesh/model/problem.ts'

/** Lets `permits` callers work at a time; the others wait in the order they came. */
export type Gate = { enter(): Promise<() => void> }

/** Past `waiting` callers in the queue the next is turned away: throws `unavailable`, so that a stall stays bounded. */
export function openGate(permits: number, waiting: number): Gate {
  let free = permits
  const queue: (() => void)[] = []
  const leave = () => {
    const next = queue.shift()
    if (next) next()
    else free++
  }
  const once = () => {
    let left = false
    return () => {
      if (left) return
      left = true
      leave()
    }
  }
  return {
    enter: async () => {
      if (free > 0) {
        free--
        return once()
      }
      if (queue.length >= waiting)
        throw new Problem('unavailable', `the database is busy: ${waiting} requests wait for it; try again in a moment`)
      await new Promise<void>((go) => {
        queue.push(go)
      })
      return once()
    },
  }
}
