import type { Centre } from '#control/centre.ts'
import { newDrainMemo } from '#control/traffic/drain-sight.ts'
import { lookForLost } from '#control/traffic/lost-exporters.ts'
import { repairAdvice, stepDrains } from '#control/traffic/step-drains.ts'
import { leads, openLoop } from '#functions/loop.ts'
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
  const memo = newDrainMemo()
  const stream = adviceStream(centre.mesh)
  let isMoving = true
  let repairedAt = Number.NEGATIVE_INFINITY
  let lookedAt = Number.NEGATIVE_INFINITY
  /** Who was not heard while the store was away may have spoken. */
  let hearingSince = centre.now()
  const loop = openLoop(centre, {
    round: async () => {
      isMoving = await round()
      return isMoving ? movingMs : lookMs
    },
    wakes: (note) =>
      (note.kind === 'streams' && note.changes.some((change) => change.stream === stream)) ||
      note.kind === 'outbox' ||
      (isMoving && note.kind === 'load'),
    windowMs: movingMs / 5,
    onFailure: {
      text: 'a drain could not go on; nothing was changed, and it is tried again',
      waitMs: movingMs,
      also: () => {
        isMoving = true
        hearingSince = centre.now()
      },
    },
  })
  return {
    attention: () => {
      const failing = loop.failing()
      if (!failing) return []
      return [
        `drains stand still since ${failing.since}: ${failing.why}; shares stay as they are, and it is tried again`,
      ]
    },
    stop: loop.stop,
  }

  /** Whether any is under way. */
  async function round(): Promise<boolean> {
    if (!(await leads(centre, 'drain', leaseMs))) return false
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
}
