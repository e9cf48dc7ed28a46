import { isDeepStrictEqual } from 'node:util'
import type { Traffic } from '#mesh/model/traffic.ts'

/** `after`, where every part that is equal to that of `before` is that of `before`; all of it where nothing differs. */
export function sameParts(before: Traffic | undefined, after: Traffic | undefined): Traffic | undefined {
  if (!before || !after) return after
  const closed = sameValue(before.gatewaysClosing, after.gatewaysClosing)
  const traffic: Traffic = {
    gatewaysDown: sameEntries(before.gatewaysDown, after.gatewaysDown),
    gatewaysDraining: sameEntries(before.gatewaysDraining, after.gatewaysDraining),
    clusters: sameEntries(before.clusters, after.clusters),
    services: sameEntries(before.services, after.services, sameEntries),
    peaks: sameEntries(before.peaks, after.peaks),
    closing: sameValue(before.closing, after.closing),
    ...(closed ? { gatewaysClosing: closed } : {}),
  }
  const isSame =
    traffic.gatewaysDown === before.gatewaysDown &&
    traffic.gatewaysDraining === before.gatewaysDraining &&
    traffic.clusters === before.clusters &&
    traffic.services === before.services &&
    traffic.peaks === before.peaks &&
    traffic.closing === before.closing &&
    traffic.gatewaysClosing === before.gatewaysClosing
  return isSame ? before : traffic
}

const sameValue = <V>(before: V, after: V): V => (isDeepStrictEqual(before, after) ? before : after)

function sameEntries<K, V>(
  before: ReadonlyMap<K, V>,
  after: ReadonlyMap<K, V>,
  same: (before: V, after: V) => V = sameValue,
): ReadonlyMap<K, V> {
  const kept = new Map(
    [...after].map(([key, value]): [K, V] => {
      const last = before.get(key)
      return [key, last === undefined ? value : same(last, value)]
    }),
  )
  const isSame = kept.size === before.size && [...kept].every(([key, value]) => before.get(key) === value)
  return isSame ? before : kept
}
