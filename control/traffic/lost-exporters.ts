import { centreCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { loadPolicySet } from '#control/load-fleet.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadLoads } from '#control/store/loads.ts'
import { lockMark, saveMark } from '#control/store/mesh-marks.ts'
import { loadLost, lockAdvice, writeAdvice } from '#control/traffic/advice.ts'
import { tell } from '#control/traffic/drain.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import type { LostExporter } from '#mesh/model/traffic.ts'

export const lostTimes = {
  /** So long nothing was heard of a relay: three heartbeats. */
  silentMs: 180_000,
  /** Relays follow the word so long; a centre that is away takes it back by saying nothing. */
  validMs: 60_000,
  renewMs: 30_000,
} as const

/**
 * Tells relays which clusters are not heard, where a policy asks what becomes of them (`onExporterLost`): demote or drop.
 * Without such a policy nothing is said, for silence alone moves no traffic. `hearingSince` (Unix ms): since when this
 * centre could hear anybody; before that silence says nothing.
 */
export async function lookForLost(centre: Centre, hearingSince: number): Promise<void> {
  const { before, now: seen } = await centre.db.read(async (tx) => ({
    before: await loadLost(tx, centre),
    now: await lostNow(centre, tx, hearingSince),
  }))
  if (!differs(before, seen, centre.now())) return
  const delta = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    const known = await loadLost(tx, centre)
    const lost = await lostNow(centre, tx, hearingSince)
    const mark = await lockMark(tx, centre.mesh, 'lost')
    const value = lost.length === 0 ? '' : JSON.stringify(lost)
    await saveMark(tx, { ...mark, value, by: 'centre', at: centre.now() })
    for (const { cluster, since } of lost.filter((one) => !names(known).has(one.cluster)))
      await note(tx, 'lost', cluster, { since, silentMs: lostTimes.silentMs })
    for (const { cluster } of known.filter((one) => !names(lost).has(one.cluster))) await note(tx, 'heard', cluster, {})
    return writeAdvice(centre, tx)
  })
  if (delta) tell(centre, delta)

  async function note(tx: Tx, what: 'lost' | 'heard', cluster: string, detail: Record<string, number>): Promise<void> {
    await audited(centre, tx, centreCaller, {
      action: `traffic.exporter-${what}`,
      object: `cluster ${cluster}`,
      detail,
    })
  }
}

const names = (lost: readonly LostExporter[]): ReadonlySet<string> => new Set(lost.map(({ cluster }) => cluster))

/** Other clusters, or words that soon end. */
const differs = (before: readonly LostExporter[], now: readonly LostExporter[], at: number): boolean =>
  names(before).symmetricDifference(names(now)).size > 0 || before.some(({ until }) => until - at < lostTimes.renewMs)

async function lostNow(centre: Centre, tx: Tx, hearingSince: number): Promise<readonly LostExporter[]> {
  const { policies = [] } = await loadPolicySet(tx, centre.mesh)
  if (!policies.some(({ spec }) => (spec.onExporterLost ?? 'keep') !== 'keep')) return []
  const now = centre.now()
  const loads = new Map((await loadLoads(tx, centre.mesh)).map(({ cluster, takenAt }) => [cluster as string, takenAt]))
  return (await loadMembers(tx, centre.mesh)).flatMap(({ name, lastSeenAt }): LostExporter[] => {
    const since = Math.max(lastSeenAt ?? 0, loads.get(name) ?? 0, hearingSince)
    return now - since < lostTimes.silentMs
      ? []
      : [{ cluster: parseClusterName(name), since, until: now + lostTimes.validMs }]
  })
}
