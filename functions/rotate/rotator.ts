import type { Centre } from '#control/centre.ts'
import { takeLease } from '#control/store/leases.ts'
import { loadOpenRotations } from '#control/store/rotations.ts'
import { adoptProof } from '#control/trust/adopt.ts'
import { loadTrustAlerts } from '#control/trust/alerts.ts'
import { type Here, stepRotations } from '#control/trust/rotate.ts'
import { startDueRotations } from '#control/trust/schedule.ts'
import { makeRest } from '#functions/rest.ts'
import { Problem } from '#mesh/model/problem.ts'
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
  const rest = makeRest()
  let stopped = false
  let woken = true
  let bundleMoved = true
  let adoptedAt = Number.NEGATIVE_INFINITY
  let lacking: readonly string[] = []
  let alertedAt = Number.NEGATIVE_INFINITY
  let alerts: readonly string[] = []
  const failing = { times: 0, since: 0, why: '' }
  const unlisten = centre.bus.listen((note) => {
    const moved = note.kind === 'streams' && note.changes.some(({ stream }) => stream === trustStream(centre.mesh))
    if (note.kind !== 'trust' && !moved) return
    bundleMoved ||= moved
    woken = true
    rest.wake()
  })
  const running = loop()
  return {
    attention: () => {
      const keys = lacking.map(
        (one) =>
          `the store was restored and does not know the key of the ${one}: restore its file, or rotate that kind`,
      )
      if (failing.times === 0) return [...alerts, ...keys]
      const since = new Date(failing.since).toISOString()
      return [
        ...alerts,
        ...keys,
        `a rotation stands still since ${since}: ${failing.why}; what is trusted stays as it is, and it is tried again`,
      ]
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
      const waitMs = await round().then(
        (ms) => {
          failing.times = 0
          return ms
        },
        (error: unknown) => {
          centre.log.error({ err: error }, 'a rotation could not go on; nothing was changed, and it is tried again')
          if (failing.times++ === 0) failing.since = centre.now()
          failing.why = error instanceof Problem ? error.message : 'a fault of the centre, which its log tells'
          return runningMs
        },
      )
      await rest.for(windowMs)
      if (!woken && !stopped) await rest.for(waitMs, 'orWoken')
    }
  }

  /** How long it may rest, unless it is woken. */
  async function round(): Promise<number> {
    if (bundleMoved) {
      bundleMoved = false
      await onBundle()
    }
    const leading = await leads()
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

  /** The embedded database has one process, which its lock file sees to. */
  async function leads(): Promise<boolean> {
    if (centre.db.kind === 'embedded') return true
    const now = centre.now()
    const asked = { holder: centre.instance, now, until: now + leaseMs }
    const lease = { mesh: centre.mesh, name: 'rotate' }
    return (await centre.db.transact((tx) => takeLease(tx, lease, asked))) !== undefined
  }
}
