import { join } from 'node:path'
import type { Received } from '#gateway/uplink/received.ts'
import { openReceivedStore } from '#gateway/uplink/received-store.ts'
import type { Log } from '#gateway/uplink/standing.ts'
import type { Uplink } from '#gateway/uplink/uplink.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * In the place of a line for a relay that cannot prove to the centre who it is: it holds what was last received, tells
 * nothing and hears nothing. `reason` says why, and what mends it.
 */
export function noLine(parts: {
  readonly dir: string
  readonly reason: string
  readonly log: Log
  readonly onRefused?: (reason: string) => void
  readonly now?: () => number
}): Uplink {
  const { reason, log, now = Date.now } = parts
  const store = openReceivedStore(join(parts.dir, 'received.json'), log)
  const received: Received = store.loaded
  const since = now()
  return {
    received: () => received,
    start: () => {
      log.warn({ reason }, 'no line to the centre; serving what is known')
      parts.onRefused?.(reason)
    },
    report: () => undefined,
    takeOver: () => undefined,
    sign: () => Promise.reject(new Problem('unavailable', reason)),
    load: () => Promise.reject(new Problem('unavailable', reason)),
    status: () => ({
      ...{ state: 'refused', since, reason, hints: false, toTell: 0, refused: [], clockSkewMs: 0 },
      streams: Object.fromEntries([...received].map(([name, { rev }]) => [name, rev])),
      ...{ mismatches: 0, faults: store.faults() },
    }),
    lastHeardAt: () => undefined,
    now,
    stop: () => store.close(),
  }
}
