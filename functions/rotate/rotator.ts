import type { Centre } from '#control/centre.ts'
import { loadOpenRotations } from '#control/store/rotations.ts'
import { adoptProof } from '#control/trust/adopt.ts'
import { loadTrustAlerts } from '#control/trust/alerts.ts'
import { type Here, stepRotations } from '#control/trust/rotate.ts'
import { startDueRotations } from '#control/trust/schedule.ts'
import { leads, openLoop } from '#functions/loop.ts'
import { trustStream } from '#mesh/wire/stream.ts'

export type Rotator = {
  /** Waits for a round under way. */
  stop(): Promise<void>
  /** What needs a hand: one line each. */
  attention(): readonly string[]
}

export type RotatorSettings = {
  readonly here: () => Here
  /** Called with every bundle that may be new, at the start too: what stands beside the store follows it. */
  readonly onBundle: () => Promise<void>
  /** How old a root may be before the next is made; absent: until it nears its end. */
  readonly rootAfterMs?: number | undefined
}

const lookMs = 60_000
const runningMs = 1000
/** Words of many relays come at once: they are looked at together. */
const windowMs = 100
const leaseMs = 30_000
/** How often it is asked whether some relay is ahead of the store. */
const adoptMs = 1000

/**
 * Takes rotations on: at once when a relay says what it holds, each second while one runs, else each minute. One process
 * of a centre does it at a time. A step that fails (a key service that is away) changes nothing, is told, and tried again.
 */
export function openRotator(centre: Centre, { here, onBundle, rootAfterMs }: RotatorSettings): Rotator {
  let bundleMoved = true
  let adoptedAt = Number.NEGATIVE_INFINITY
  let lacking: readonly string[] = []
  let alertedAt = Number.NEGATIVE_INFINITY
  let alerts: readonly string[] = []
  const loop = openLoop(centre, {
    round,
    wakes: (note) => {
      const moved = note.kind === 'streams' && note.changes.some(({ stream }) => stream === trustStream(centre.mesh))
      bundleMoved ||= moved
      return note.kind === 'trust' || moved
    },
    windowMs,
    onFailure: { text: 'a rotation could not go on; nothing was changed, and it is tried again', waitMs: runningMs },
  })
  return {
    attention: () => {
      const keys = lacking.map(
        (one) =>
          `the store was restored and does not know the key of the ${one}: restore its file, or rotate that kind`,
      )
      const failing = loop.failing()
      if (!failing) return [...alerts, ...keys]
      return [
        ...alerts,
        ...keys,
        `a rotation stands still since ${failing.since}: ${failing.why}; what is trusted stays as it is, and it is tried again`,
      ]
    },
    stop: loop.stop,
  }

  /** How long it may rest, unless it is woken. */
  async function round(): Promise<number> {
    if (bundleMoved) {
      bundleMoved = false
      await onBundle()
    }
    const leading = await leads(centre, 'rotate', leaseMs)
    if (performance.now() - alertedAt >= lookMs) {
      alertedAt = performance.now()
      alerts = await loadTrustAlerts(centre)
      if (leading) await startDueRotations(centre, rootAfterMs)
    }
    // Many relays speak at once: whether one is ahead of the store is asked now and then only.
    const looks = performance.now() - adoptedAt >= adoptMs
    if (looks && leading) {
      adoptedAt = performance.now()
      const adopted = await adoptProof(centre)
      if (adopted) lacking = adopted.missingKeys
    }
    const open = await centre.db.read((tx) => loadOpenRotations(tx, centre.mesh))
    if (open.length > 0 && leading) await stepRotations(centre, here())
    return open.length > 0 || !looks ? runningMs : lookMs
  }
}
