import type { Centre } from '#control/centre.ts'
import { loadClusters } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import type { StoredLoad } from '#control/store/loads.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { offeredTo } from '#control/traffic/offered.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { type CallLoad, type Latency, loadFreshMs, type Measured, measuredWindow } from '#mesh/model/load.ts'

/** Calls of one cluster to a service in one cluster: as they are meant to go, and as they went. */
export type TrafficRow = {
  readonly caller: ClusterName
  readonly service: ServiceKey
  readonly callee: ClusterName
  /** 0..1; null = not told. */
  readonly intended: number | null
  /** 0..1; null = nobody called, or nobody measures. */
  readonly measured: number | null
  /** Null = not measured, which is not the same as none; as the following. */
  readonly requestsPerSecond: number | null
  readonly errorsPerSecond: number | null
  /** Requests in progress, open connections of streams. */
  readonly active: number | null
  /** Of all calls of this caller to the service, wherever they went. */
  readonly latency: Omit<Latency, 'service'> | null
  /** Of the caller: of a proxy that does not report nothing is counted. */
  readonly proxies: Measured | null
  /** When its last window was taken, Unix ms; null = there was none yet. */
  readonly at: number | null
}

/** Sorted by caller, service and callee. A member that reports nothing is there with what it may call, not measured. */
export async function showTraffic(centre: Centre): Promise<readonly TrafficRow[]> {
  return centre.db.read(async (tx) => {
    const loads = await knownLoads(centre, tx)
    const rows: TrafficRow[] = []
    for (let after = ''; ; ) {
      const page = await loadClusters(tx, centre.mesh, after, 200)
      for (const { name, state } of page)
        if (state === 'joined') rows.push(...(await rowsOf(centre, tx, name as ClusterName, loads)))
      const last = page.at(-1)
      if (page.length < 200 || !last) return rows
      after = last.name
    }
  })
}

async function rowsOf(
  centre: Centre,
  tx: Tx,
  caller: ClusterName,
  loads: ReadonlyMap<ClusterName, StoredLoad>,
): Promise<TrafficRow[]> {
  const stored = loads.get(caller)
  if (stored) return measuredRows(stored, centre.now())
  const { imports } = await offeredTo(centre, tx, caller)
  return [...imports].flatMap(([service, { sources }]) =>
    [...sources].map((callee) => ({
      caller,
      service,
      callee,
      intended: null,
      ...noCounts,
      latency: null,
      proxies: null,
      at: null,
    })),
  )
}

const noCounts = { measured: null, requestsPerSecond: null, errorsPerSecond: null, active: null } as const

function measuredRows({ cluster: caller, takenAt, load }: StoredLoad, now: number): TrafficRow[] {
  const window = measuredWindow(load, now)
  const meant = new Map(load.shares.map(({ service, intended }) => [service, intended]))
  const counted = Map.groupBy(load.window?.rows ?? [], ({ service }) => service)
  const told = now - takenAt <= loadFreshMs ? load.latencies : []
  const latencies = new Map(told.map(({ service, ...latency }) => [service, latency]))
  return [...new Set([...counted.keys(), ...meant.keys()])].toSorted().flatMap((service) => {
    const [rows, intended] = [counted.get(service) ?? [], meant.get(service)]
    const all = rows.reduce((sum, { issued }) => sum + issued, 0)
    const callees = new Set([...rows.map(({ callee }) => callee), ...(intended ?? []).map(({ cluster }) => cluster)])
    return [...callees].toSorted().map((callee): TrafficRow => {
      const row = rows.find((one) => one.callee === callee)
      return {
        ...{ caller, service, callee },
        intended: intended ? (intended.find(({ cluster }) => cluster === callee)?.share ?? 0) : null,
        ...(window ? countsOf(row, { all, windowMs: window.windowMs }) : noCounts),
        latency: latencies.get(service) ?? null,
        ...{ proxies: load.proxies, at: load.window?.takenAt ?? null },
      }
    })
  })
}

function countsOf(row: CallLoad | undefined, { all, windowMs }: { readonly all: number; readonly windowMs: number }) {
  const { issued, errors, active } = row ?? { issued: 0, errors: 0, active: 0 }
  const perSecond = (count: number): number => Math.round((count * 100_000) / windowMs) / 100
  return {
    measured: all === 0 ? null : Math.round((issued / all) * 1e4) / 1e4,
    ...{ requestsPerSecond: perSecond(issued), errorsPerSecond: perSecond(errors), active },
  }
}
