import type { LoadReporter, Window } from '#gateway/load-counts.ts'
import { type Address, addressKey } from '#mesh/model/address.ts'
import type { Counts, GatewayLoad, LoadReport } from '#mesh/model/load.ts'

/** A body larger than this the centre does not take. */
const bodyMax = 480_000

/** The report without the tails of its lists, where it would be too large; what is cut off the rows is summed. */
export function fitted(report: LoadReport): LoadReport {
  if (JSON.stringify(report).length <= bodyMax) return report
  const half = <T>(list: readonly T[]): readonly T[] => list.slice(0, Math.floor(list.length / 2))
  const rows = half(report.rows)
  const rest = sumOf([...report.rows.slice(rows.length), ...(report.rest ? [report.rest] : [])])
  return fitted({
    ...report,
    ...{ rows, ...(rest ? { rest } : {}), gateways: half(report.gateways), shares: half(report.shares) },
    ...{ below: half(report.below), health: half(report.health), latencies: half(report.latencies) },
  })
}

export function sumOf(rows: readonly Counts[]): Counts | undefined {
  if (rows.length === 0) return undefined
  const sum = (count: (row: Counts) => number): number => rows.reduce((all, row) => all + count(row), 0)
  return {
    issued: sum((r) => r.issued),
    ok: sum((r) => r.ok),
    errors: sum((r) => r.errors),
    active: sum((r) => r.active),
  }
}

/**
 * By the address at which others dial the gateway: its own, or that of a balancer before those that have none of their own
 * among the places.
 */
export function gatewaysOf({ routers }: Window, places: readonly Address[]): GatewayLoad[] {
  const placeOf = ({ addresses }: LoadReporter) => places.find(({ address }) => addresses.includes(address))
  const stood = new Set(routers.map(({ router }) => placeOf(router)))
  const balancer = places.find((place) => !stood.has(place))
  const sums = new Map<string, GatewayLoad>()
  for (const { router, service, issued, active } of routers) {
    const place = placeOf(router) ?? balancer
    const address = place ? addressKey(place) : (router.addresses[0] ?? '')
    const before = sums.get(`${address} ${service}`) ?? { address, service, issued: 0, active: 0 }
    sums.set(`${address} ${service}`, { ...before, issued: before.issued + issued, active: before.active + active })
  }
  return [...sums.values()]
}
