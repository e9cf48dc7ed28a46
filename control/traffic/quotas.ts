import type { Centre } from '#control/centre.ts'
import { loadClusters } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import type { StoredLoad } from '#control/store/loads.ts'
import { loadAcross } from '#control/store/streams.ts'
import type { Offered } from '#control/traffic/offered.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { type Load, type LoadWindow, measuredWindow, type Quota } from '#mesh/model/load.ts'
import { allot } from '#mesh/policy/allot.ts'
import { type Demand, demandIn } from '#mesh/policy/demand.ts'
import { loadLimits } from '#mesh/wire/load.ts'
import { cfgStream } from '#mesh/wire/stream.ts'

/** Who calls a service is another question than how much. */
const callersMs = 5000

type Loads = ReadonlyMap<ClusterName, StoredLoad>

/**
 * How much of each capacity that a cluster's callers share they may use, by what all callers want of it now. Who says
 * nothing of late, or measures none of its proxies, counts with an equal part.
 */
export async function quotasFor(
  centre: Centre,
  tx: Tx,
  facts: { readonly cluster: ClusterName; readonly offered: Offered; readonly loads: Loads },
): Promise<Quota[]> {
  const { cluster, offered, loads } = facts
  const now = centre.now()
  const quotas: Quota[] = []
  for (const [service, { capacities }] of offered.imports) {
    if (capacities.size === 0) continue
    const callers = await callersOf(centre, tx, service)
    for (const [callee, { requestsPerSecond, connections }] of capacities) {
      const part = (capacity: number | undefined, wanted: (of: Wanted) => number): number | undefined => {
        if (capacity === undefined) return undefined
        const demands = new Map([...callers, cluster].map((name) => [name, saidBy(loads.get(name), now, wanted)]))
        return rounded(allot(capacity, demands).get(cluster) ?? 0)
      }
      const rate = part(requestsPerSecond, (of) => wantedOf(of, service, callee).requestsPerSecond)
      const open = part(connections, (of) => wantedOf(of, service, callee).connections)
      quotas.push({
        ...{ service, cluster: callee },
        ...(rate === undefined ? {} : { requestsPerSecond: rate }),
        ...(open === undefined ? {} : { connections: open }),
      })
    }
  }
  return quotas.slice(0, loadLimits.quotas)
}

const rounded = (part: number): number => Math.round(part * 1000) / 1000

/** What a caller wants of which service, where it was measured of late. */
type Wanted = { readonly shares: Load['shares']; readonly window: LoadWindow }

function saidBy(stored: StoredLoad | undefined, now: number, wanted: (of: Wanted) => number): number {
  const window = stored && measuredWindow(stored.load, now)
  return window ? wanted({ shares: stored.load.shares, window }) : Number.POSITIVE_INFINITY
}

/** Of all that is called of the service the part that would go to the callee if nothing held it back. */
function wantedOf({ shares, window }: Wanted, service: ServiceKey, callee: ClusterName): Demand {
  const intended = shares.find((one) => one.service === service)?.intended
  const meant = intended?.find((one) => one.cluster === callee)
  const part = meant?.wanted ?? meant?.share ?? 0
  const { requestsPerSecond, connections } = demandIn(window, service)
  return { requestsPerSecond: requestsPerSecond * part, connections: connections * part }
}

const asked = new WeakMap<Centre, Map<ServiceKey, { readonly at: number; readonly callers: readonly ClusterName[] }>>()

/** The members whose config has the service. */
async function callersOf(centre: Centre, tx: Tx, service: ServiceKey): Promise<readonly ClusterName[]> {
  const known = asked.get(centre) ?? new Map()
  asked.set(centre, known)
  const last = known.get(service)
  if (last && centre.now() - last.at < callersMs) return last.callers
  const names: string[] = []
  for (let after = ''; ; ) {
    const page = await loadClusters(tx, centre.mesh, after, 200)
    names.push(...page.filter(({ state }) => state === 'joined').map(({ name }) => name))
    const end = page.at(-1)
    if (page.length < 200 || !end) break
    after = end.name
  }
  const items = await loadAcross(tx, centre.mesh, names.map(cfgStream), `import/${service}`)
  const streams = new Set(items.map(({ stream }) => stream))
  const callers = names.filter((name) => streams.has(cfgStream(name))) as ClusterName[]
  known.set(service, { at: centre.now(), callers })
  return callers
}
