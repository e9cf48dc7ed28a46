import { z } from '@hono/zod-openapi'
import { showTraffic, type TrafficRow } from '#control/traffic/show-traffic.ts'
import { derivedRoute } from '#functions/api/derived.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { objectFields, timeText } from '#functions/api/schemas.ts'
import { partsOf } from '#mesh/model/id.ts'

const number = (description: string) => z.number().nullable().openapi({ description })
const trafficSchema = z
  .object({
    ...objectFields,
    namespace: z.string(),
    caller: z.string(),
    service: z.string().openapi({ description: '<namespace>/<name>' }),
    callee: z.string(),
    /** Both ends: a filter by cluster means either. */
    clusters: z.array(z.string()),
    intended: number('0..1, the share as proxies are led; null = not told'),
    measured: number('0..1, the share as it went; null = nobody called, or not measured'),
    requestsPerSecond: number('null = not measured, which is not the same as none'),
    errorsPerSecond: number('each try counted; null = not measured'),
    active: number('requests in progress, open connections of streams; null = not measured'),
    p50Ms: number('of all calls of the caller to the service; null = not measured, as the following'),
    p90Ms: number(''),
    p99Ms: number(''),
    proxies: z
      .object({ measured: z.number().int(), notMeasured: z.number().int() })
      .nullable()
      .openapi({ description: 'of the caller: how many report and how many do not; null = nothing is known' }),
    at: z.string().nullable().openapi({ description: 'when the last report of the caller was taken' }),
  })
  .openapi('Traffic')

/** Where the calls of each cluster are meant to go, and where they go. */
export function trafficRoutes(api: Api, door: Door): void {
  derivedRoute(api, door, {
    ...{ path: '/v1/traffic', name: 'Traffic', tag: 'traffic', schema: trafficSchema },
    summary: 'Calls between clusters by caller, service and callee: intended and measured shares',
    load: async () => (await showTraffic(door.centre)).map(trafficFrom),
  })
}

function trafficFrom({ latency, at, ...row }: TrafficRow): z.infer<typeof trafficSchema> {
  const { caller, service, callee } = row
  return {
    ...row,
    ...partsOf(service),
    ...{ id: `${caller}/${service}/${callee}`, revision: 0, createdAt: timeText(at ?? 0), conditions: [] },
    clusters: [...new Set([caller, callee])],
    ...{ p50Ms: latency?.p50Ms ?? null, p90Ms: latency?.p90Ms ?? null, p99Ms: latency?.p99Ms ?? null },
    at: at === null ? null : timeText(at),
  }
}
