import type { Offered } from '#control/traffic/offered.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { type Counts, callsPerSecondMax, type Load, type LoadWindow } from '#mesh/model/load.ts'
import { callLoadSchema, countsSchema, gatewayLoadSchema, type LoadRequest, latencySchema } from '#mesh/wire/load.ts'

/** A row that was not taken: which, and why. */
export type RefusedRow = { readonly key: string; readonly reason: string }

/** They are of a minute. */
const latencyCallsMax = callsPerSecondMax * 60

type Said = Readonly<Record<string, unknown>>
type Read<T> = { readonly data?: T | undefined; readonly error?: Issues | undefined }

/**
 * What of a report can be true of the cluster that made it, and what cannot. One without a window leaves in place what was
 * measured `before` it.
 */
export function judgedLoad(
  request: LoadRequest,
  { offered, takenAt, before }: { readonly offered: Offered; readonly takenAt: number; readonly before?: LoadWindow },
): { readonly load: Load; readonly refused: readonly RefusedRow[] } {
  const refused: RefusedRow[] = []
  const met = new Set<string>()
  const most = (callsPerSecondMax * Math.max(1000, request.windowMs)) / 1000
  /** The row where nothing speaks against it. */
  const taken = <T>(key: string, read: Read<T>, fault: (row: T) => string | undefined) => {
    const { data } = read
    const isSecond = met.has(key)
    met.add(key)
    const reason = !data ? faultOf(read.error) : isSecond ? 'it is named twice' : fault(data)
    if (data && reason === undefined) return [data]
    refused.push({ key, reason: reason ?? 'it makes no sense' })
    return []
  }
  const inList = (kind: string, service: ServiceKey): boolean => {
    if (offered.imports.has(service)) return true
    refused.push({ key: `${kind} of ${service}`, reason: notOffered })
    return false
  }
  const { epoch, seq, at, windowMs, adv, cfg, proxies, health, reached } = request
  const routers = request.routers ? { routers: request.routers } : {}
  const hasWindow = windowMs > 0
  const countsFault = (counts: Partial<Counts>): string | undefined =>
    hasWindow ? countFault(counts, most) : 'the report is of no window: nothing can have been counted in it'
  const rest = request.rest && taken('rest', countsSchema.safeParse(request.rest), countsFault)[0]
  const counted = {
    rows: request.rows.flatMap((row) =>
      taken(
        rowKey(row),
        callLoadSchema.safeParse(row),
        (one) => roadFault(offered, one.service, one.callee) ?? countsFault(one),
      ),
    ),
    ...(rest ? { rest } : {}),
    gateways: request.gateways.flatMap((row) =>
      taken(gatewayKey(row), gatewayLoadSchema.safeParse(row), (one) =>
        offered.exports.has(one.service) ? countsFault(one) : 'this cluster does not export the service',
      ),
    ),
  }
  const window = hasWindow ? { ...counted, windowMs, takenAt, epoch, proxies, ...routers } : before
  const load: Load = {
    ...{ epoch, seq, at, adv, cfg, proxies, health, ...routers, ...(reached ? { reached } : {}) },
    ...(window ? { window } : {}),
    latencies: request.latencies.flatMap((one) =>
      taken(`latency of ${textOf(one['service'])}`, latencySchema.safeParse(one), ({ service, count }) => {
        if (!offered.imports.has(service)) return notOffered
        return count > latencyCallsMax ? `count is more than ${callsPerSecondMax} a second` : undefined
      }),
    ),
    shares: request.shares.filter((one) => {
      const reason = sharesFault(offered, one)
      if (reason !== undefined) refused.push({ key: `shares of ${one.service}`, reason })
      return reason === undefined
    }),
    below: request.below.filter((service) => inList('tier', service)),
  }
  return { load, refused }
}

const notOffered = 'the service is not offered to this cluster'
const rowKey = (row: Said): string => `${textOf(row['service'])} in ${textOf(row['callee'])}`
const gatewayKey = (row: Said): string => `gateway ${textOf(row['address'])} for ${textOf(row['service'])}`

function roadFault({ imports }: Offered, service: ServiceKey, callee: ClusterName): string | undefined {
  const offered = imports.get(service)
  if (!offered) return notOffered
  return offered.sources.has(callee) ? undefined : `cluster ${callee} does not offer it to this cluster`
}

/** What ended in a window may have begun before it, so each number is looked at for itself. */
function countFault({ issued, ok, errors, active }: Partial<Counts>, most: number): string | undefined {
  const [name] = Object.entries({ issued, ok, errors, active }).find(([, count]) => (count ?? 0) > most) ?? []
  return name === undefined ? undefined : `${name} is more than ${callsPerSecondMax} a second`
}

function sharesFault(offered: Offered, { service, intended }: Load['shares'][number]): string | undefined {
  const stranger = intended.map(({ cluster }) => roadFault(offered, service, cluster)).find((fault) => fault)
  const sum = intended.reduce((all, { share }) => all + share, 0)
  if (!offered.imports.has(service)) return notOffered
  return stranger ?? (sum > 1.01 ? 'together they are more than the whole' : undefined)
}

type Issues = { readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[] }

/** What a schema has against it, in one line. */
export function faultOf(error: Issues | undefined): string {
  const [first] = error?.issues ?? []
  return `${first?.path.map(String).join('.') ?? ''}: ${first?.message ?? 'makes no sense'}`.slice(0, 300)
}

/** As much of what was said as may stand in an answer and a log. */
export const textOf = (said: unknown): string =>
  typeof said === 'string' ? said.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 130) : `(${typeof said})`
