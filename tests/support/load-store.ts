import { expect, test } from 'vitest'
import { deleteLoad, loadLoad, loadLoads, loadLoadTimes, saveLoad } from '#control/store/loads.ts'
import { countShifts, insertShift, pruneShifts } from '#control/store/shift-events.ts'
import { type ClusterName, parseClusterName, parseMeshName } from '#mesh/model/id.ts'
import type { Load } from '#mesh/model/load.ts'
import type { StoreUnderTest } from '#tests/support/store-under-test.ts'

/** What the store promises of load reports and shifts. */
export function describeLoads(store: StoreUnderTest): void {
  test('the last load report of each cluster is kept; a shift is told once, and counted by its cluster', async () => {
    const mesh = parseMeshName(store.freshMesh())
    const [east, west] = ['east', 'west'].map(parseClusterName) as [ClusterName, ClusterName]
    const proxies = { measured: 1, notMeasured: 0 }
    const window = { windowMs: 10, takenAt: 4, epoch: 'a'.repeat(16), rows: [], gateways: [], proxies }
    const load: Load = {
      ...{
        epoch: 'a'.repeat(16),
        seq: 1,
        at: 5,
        adv: null,
        cfg: { epoch: 'e', rev: 2, hash: 'f'.repeat(64) },
      },
      ...{ proxies, window, latencies: [], shares: [], below: [], health: [] },
    }
    await store.db.transact((tx) => saveLoad(tx, mesh, { cluster: west, takenAt: 1, load }))
    await store.db.transact((tx) => saveLoad(tx, mesh, { cluster: east, takenAt: 2, load }))
    await store.db.transact((tx) => saveLoad(tx, mesh, { cluster: west, takenAt: 3, load: { ...load, seq: 2 } }))
    const kept = [
      { cluster: east, takenAt: 2, load },
      { cluster: west, takenAt: 3, load: { ...load, seq: 2 } },
    ]
    expect(await store.db.read((tx) => loadLoads(tx, mesh))).toEqual(kept)
    expect(await store.db.read((tx) => loadLoadTimes(tx, mesh))).toEqual(
      kept.map(({ cluster, takenAt: at }) => ({ cluster, at })),
    )
    await store.db.transact((tx) => deleteLoad(tx, mesh, east))
    expect(await store.db.read((tx) => loadLoad(tx, mesh, east))).toBeUndefined()
    expect(await store.db.read((tx) => loadLoad(tx, mesh, west))).toEqual(kept[1])
    const told = (seq: number, at: number, cluster = 'west') =>
      store.db.transact((tx) => insertShift(tx, { mesh, cluster, epoch: 'a', seq, at }))
    expect([await told(1, 10), await told(1, 11), await told(2, 20), await told(1, 20, 'east')]).toEqual([
      true,
      false,
      true,
      true,
    ])
    expect(await store.db.read((tx) => countShifts(tx, mesh, 'west', 10))).toBe(1)
    expect(await store.db.transact((tx) => pruneShifts(tx, mesh, 20))).toBe(1)
    expect(await store.db.read((tx) => countShifts(tx, mesh, 'west', 0))).toBe(1)
  })
}
