import type { Note } from '#control/bus.ts'
import type { Centre } from '#control/centre.ts'
import { takeLease } from '#control/store/leases.ts'
import { makeRest } from '#functions/rest.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Rounds of one kind of work, one after the other, for as long as a centre lives. */
export type Loop = {
  /** Waits for a round under way. */
  stop(): Promise<void>
  /** Absent while all is well. `why` is as much as strangers may know. */
  failing(): Failing | undefined
}
/** How many rounds failed, one after the other, and since when (RFC 3339). */
export type Failing = { readonly times: number; readonly since: string; readonly why: string }

export type LoopSettings = {
  /** One round. Resolves with how long the next may wait unless it is woken, in ms: 0 for not at all. */
  readonly round: () => Promise<number>
  /** Which notes wake it. */
  readonly wakes: (note: Note) => boolean
  /** The rest after every round, whatever comes: a burst is one round's work. */
  readonly windowMs: number
  readonly onFailure: {
    /** For the log. */
    readonly text: string
    /** The rest that nothing ends; absent: that after every round. */
    readonly restMs?: number
    /** How long the next round may wait after it unless it is woken. */
    readonly waitMs: number
    readonly also?: () => void
  }
}

/** The first round begins at once. One that fails is logged, and done again; it has to leave everything as it was. */
export function openLoop(centre: Pick<Centre, 'bus' | 'log' | 'now'>, settings: LoopSettings): Loop {
  const { round, wakes, windowMs, onFailure } = settings
  const rest = makeRest()
  let stopped = false
  let woken = true
  const failing = { times: 0, since: 0, why: '' }
  const unlisten = centre.bus.listen((note) => {
    if (!wakes(note)) return
    woken = true
    rest.wake()
  })
  const running = loop()
  return {
    failing: () => {
      const { times, since, why } = failing
      return times === 0 ? undefined : { times, since: new Date(since).toISOString(), why }
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
      const { restMs, waitMs } = await round().then(
        (ms) => {
          failing.times = 0
          return { restMs: windowMs, waitMs: ms }
        },
        (error: unknown) => {
          centre.log.error({ err: error }, onFailure.text)
          if (failing.times++ === 0) failing.since = centre.now()
          failing.why = error instanceof Problem ? error.message : 'a fault of the centre, which its log tells'
          onFailure.also?.()
          return { restMs: onFailure.restMs ?? windowMs, waitMs: onFailure.waitMs }
        },
      )
      await rest.for(restMs)
      if (waitMs > 0 && !woken && !stopped) await rest.for(waitMs, 'orWoken')
    }
  }
}

/** Whether this process is the one of its centre that does such work; the embedded database has one, as its lock file sees to. */
export async function leads(centre: Centre, name: string, leaseMs: number): Promise<boolean> {
  if (centre.db.kind === 'embedded') return true
  const now = centre.now()
  const asked = { holder: centre.instance, now, until: now + leaseMs }
  return (await centre.db.transact((tx) => takeLease(tx, { mesh: centre.mesh, name }, asked))) !== undefined
}
