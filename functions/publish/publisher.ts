import type { Centre } from '#control/centre.ts'
import { newPublishMemo, publish } from '#control/publish.ts'
import { makeRest } from '#functions/rest.ts'
import { Problem } from '#mesh/model/problem.ts'

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
  const rest = makeRest()
  let stopped = false
  let woken = true
  let comparedAt = Number.NEGATIVE_INFINITY
  const failing = { times: 0, since: 0, why: '' }
  const unlisten = centre.bus.listen((note) => {
    if (note.kind !== 'outbox') return
    woken = true
    rest.wake()
  })
  const running = loop()
  return {
    ready: () => Number.isFinite(comparedAt),
    attention: () => {
      if (failing.times < failuresToTell) return []
      const since = new Date(failing.since).toISOString()
      return [`publishing fails since ${since} (${failing.times} times): ${failing.why}; what was published stays`]
    },
    stop: async () => {
      stopped = true
      unlisten()
      rest.end()
      await running
    },
  }

  async function loop(): Promise<void> {
    while (!stopped) {
      woken = false
      try {
        const always = performance.now() - comparedAt >= compareMs
        const { more } = await publish(centre, memo, always)
        if (always) comparedAt = performance.now()
        woken ||= more
        failing.times = 0
        await rest.for(windowMs)
      } catch (error) {
        centre.log.error({ err: error }, 'publishing failed; what was published stays, and it is tried again')
        if (failing.times === 0) failing.since = centre.now()
        failing.times++
        failing.why = error instanceof Problem ? error.message : 'a fault of the centre, which its log tells'
        woken = true
        await rest.for(retryMs)
      }
      if (!woken && !stopped) await rest.for(lookMs, 'orWoken')
    }
  }
}
