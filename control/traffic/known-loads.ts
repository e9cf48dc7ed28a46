import type { Centre } from '#control/centre.ts'
import type { Tx } from '#control/store/database.ts'
import { loadLoad, loadLoadTimes, type StoredLoad } from '#control/store/loads.ts'
import type { ClusterName } from '#mesh/model/id.ts'

const known = new WeakMap<Centre, ReadonlyMap<ClusterName, StoredLoad>>()

/**
 * The last report of each cluster, by name: what `loadLoads` gives, of which this process reads only what is new since it
 * last looked. Every report is small and comes every few seconds; all of them together are not.
 */
export async function knownLoads(centre: Centre, tx: Tx): Promise<ReadonlyMap<ClusterName, StoredLoad>> {
  const before = known.get(centre)
  const after = new Map<ClusterName, StoredLoad>()
  for (const { cluster, at } of await loadLoadTimes(tx, centre.mesh)) {
    const name = cluster as ClusterName
    const last = before?.get(name)
    const stored = last?.takenAt === at ? last : await loadLoad(tx, centre.mesh, name)
    if (stored) after.set(name, stored)
  }
  known.set(centre, after)
  return after
}
