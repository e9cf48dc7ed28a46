import type { Pauses } from '#gateway/pauses.ts'
import type { Load } from '#mesh/model/load.ts'
import { loadLimits } from '#mesh/wire/load.ts'

export type AckedParts = {
  /** What came from the centre and is in force. */
  readonly inForce: () => Pick<Load, 'cfg'>
  /** Whether all proxies have what they are to have. */
  readonly isSettled: () => boolean
  readonly pauses: Pauses
  /** Unix ms, by the centre's clock. */
  readonly wall: () => number
}

/** When all proxies had the config that came last, for as long as nobody was told. */
export function ackedConfigs(parts: AckedParts, lookMs: number) {
  let waiting: string | undefined
  let list: readonly { readonly hash: string; readonly at: number }[] = []
  let sent = 0
  const look = (): void => {
    if (waiting === undefined) return
    if (!parts.isSettled()) {
      parts.pauses.later(lookMs, look)
      return
    }
    list = [...list, { hash: waiting, at: Math.round(parts.wall()) }].slice(-loadLimits.acked)
    waiting = undefined
  }
  return {
    taken: () => {
      const { cfg } = parts.inForce()
      const isLooking = waiting !== undefined
      waiting = cfg?.hash
      if (!isLooking) parts.pauses.later(lookMs, look)
    },
    list: () => {
      sent = list.length
      return list
    },
    told: () => {
      list = list.slice(sent)
      sent = 0
    },
  }
}
