import type { Centre } from '#control/centre.ts'
import { newPublishMemo, publish } from '#control/publish.ts'
import { openLoop } from '#functions/loop.ts'

export type Publisher = {
  /** Waits for a round under way. */
  stop(): Promise<void>
  /** True once the first round went well. */
  ready(): boolean
  /** A line while rounds fail one after the other: since when, and why as far as strangers may know. */
  attention(): string[]
}

/** One that fails now and then is done again a second later, and nobody has to know. */
const failuresToTell = 3

const windowMs = 50
/** Finds rows whose note was lost, or another instance's. */
const lookMs = 3000
const compareMs = 10 * 60_000

/**
 * Publishes at once when the outbox has rows, at most every 50 ms then, so that a burst of changes is compiled once; looks
 * by itself every three seconds, and compares everything at the start and every ten minutes. A round that fails is logged
 * and done again; what was published stays.
 */
export function openPublisher(centre: Centre, { retryMs = 1000 } = {}): Publisher {
  const memo = newPublishMemo()
  let comparedAt = Number.NEGATIVE_INFINITY
  const loop = openLoop(centre, {
    round: async () => {
      const always = performance.now() - comparedAt >= compareMs
      const { more } = await publish(centre, memo, always)
      if (always) comparedAt = performance.now()
      return more ? 0 : lookMs
    },
    wakes: (note) => note.kind === 'outbox',
    windowMs,
    onFailure: {
      text: 'publishing failed; what was published stays, and it is tried again',
      ...{ restMs: retryMs, waitMs: 0 },
    },
  })
  return {
    ready: () => Number.isFinite(comparedAt),
    attention: () => {
      const failing = loop.failing()
      if (!failing || failing.times < failuresToTell) return []
      const { since, times, why } = failing
      return [`publishing fails since ${since} (${times} times): ${why}; what was published stays`]
    },
    stop: loop.stop,
  }
}
