import type { Centre } from '#control/centre.ts'
import { takeLease } from '#control/store/leases.ts'
import { newDrainMemo } from '#control/traffic/drain-sight.ts'
import { lookForLost } from '#control/traffic/lost-exporters.ts'
import { repairAdvice, stepDrains } from '#control/traffic/step-drains.ts'
import { makeRest } from '#functions/rest.ts'
import { Problem } from '#mesh/model/problem.ts'
import { adviceStream } from '#mesh/wire/stream.ts'

export type Drainer = {
  /** Waits for a round under way. */
  stop(): Promise<void>
  /** What needs a hand: one line each. */
  attention(): readonly string[]
}

const movingMs = 500
/** Finds what another process has begun, where its note was lost. */
const lookMs = 5000
const repairMs = 10 * 60_000
const leaseMs = 10_000

/**
 * Takes drains on: twice a second while one is under way, else when one is begun. One process of a centre does it at a
 * time. A step that fails changes nothing, is told, and tried again; while the centre is away every share stays as it is.
 */
export function openDrainer(centre: Centre): Drainer {
  const rest = makeRest()
  const memo = newDrainMemo()
  const stream = adviceStream(centre.mesh)
  let stopped = false
  let woken = true
  let isMoving = true
  let repairedAt = Number.NEGATIVE_INFINITY
  let lookedAt = Number.NEGATIVE_INFINITY
  /** Who was not heard while the store was away may have spoken. */
  let hearingSince = centre.now()
  const failing = { times: 0, since: 0, why: '' }
  const unlisten = centre.bus.listen((note) => {
    const isMoved = note.kind === 'streams' && note.changes.some((change) => change.stream === stream)
    if (!isMoved && note.kind !== 'outbox' && !(isMoving && note.kind === 'load')) return
    woken = true
    rest.wake()
  })
  const running = loop()
  return {
    attention: () => {
      if (failing.times === 0) return []
      const since = new Date(failing.since).toISOString()
      return [`drains stand still since ${since}: ${failing.why}; shares stay as they are, and it is tried again`]
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
      isMoving = await round().then(
        (moving) => {
          failing.times = 0
          return moving
        },
        (error: unknown) => {
          centre.log.error({ err: error }, 'a drain could not go on; nothing was changed, and it is tried again')
          if (failing.times++ === 0) failing.since = centre.now()
          hearingSince = centre.now()
          failing.why = error instanceof Problem ? error.message : 'a fault of the centre, which its log tells'
          return true
        },
      )
      await rest.for(movingMs / 5)
      if (!woken && !stopped) await rest.for(isMoving ? movingMs : lookMs, 'orWoken')
    }
  }

  /** Whether any is under way. */
  async function round(): Promise<boolean> {
    if (!(await leads())) return false
    if (performance.now() - repairedAt >= repairMs) {
      await repairAdvice(centre)
      repairedAt = performance.now()
    }
    if (performance.now() - lookedAt >= lookMs) {
      await lookForLost(centre, hearingSince)
      lookedAt = performance.now()
    }
    return (await stepDrains(centre, memo)) > 0
  }

  /** The embedded database has one process, which its lock file sees to. */
  async function leads(): Promise<boolean> {
    if (centre.db.kind === 'embedded') return true
    const now = centre.now()
    const asked = { holder: centre.instance, now, until: now + leaseMs }
    const lease = { mesh: centre.mesh, name: 'drain' }
    return (await centre.db.transact((tx) => takeLease(tx, lease, asked))) !== undefined
  }
}
