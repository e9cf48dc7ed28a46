import type { Centre } from '#control/centre.ts'
import { newPublishMemo, publish } from '#control/publish.ts'

/** Wakes `publish`; `stop` waits for a round under way; `ready` is true once the first went well. */
export type Publisher = { stop(): Promise<void>; ready(): boolean }

const windowMs = 50
const retryMs = 1000
/** Finds rows whose note was lost, or another instance's. */
const lookMs = 3000
const compareMs = 10 * 60_000

/**
 * Publishes at once when the outbox has rows, at most every 50 ms then, so that a burst of changes is compiled once; looks
 * by itself every three seconds, and compares everything at the start and every ten minutes. A round that fails is logged
 * and done again; what was published stays.
 */
export function openPublisher(centre: Centre): Publisher {
  const memo = newPublishMemo()
  let stopped = false
  let woken = true
  let wake: () => void = () => undefined
  let comparedAt = Number.NEGATIVE_INFINITY
  const unlisten = centre.bus.listen((note) => {
    if (note.kind !== 'outbox') return
    woken = true
    wake()
  })
  const pause = (ms: number, interruptible: boolean): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      timer.unref()
      if (interruptible || stopped)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
    })

  const running = loop()
  return {
    ready: () => Number.isFinite(comparedAt),
    stop: async () => {
      stopped = true
      unlisten()
      wake()
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
        await pause(windowMs, false)
      } catch (error) {
        centre.log.error({ err: error }, 'publishing failed; what was published stays, and it is tried again')
        woken = true
        await pause(retryMs, false)
      }
      if (!woken && !stopped) await pause(lookMs, true)
    }
  }
}
