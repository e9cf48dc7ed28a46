import { createRoute, z } from '@hono/zod-openapi'
import { requireCluster } from '#control/caller.ts'
import { takeLoad } from '#control/traffic/take-load.ts'
import { bodyBytesMax, forCluster } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { RateLimit } from '#functions/api/rate-limit.ts'
import { body, clusterSecurity, json, problems, wire } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'
import { loadAnswerSchema, loadRequestSchema } from '#mesh/wire/load.ts'

/** A relay tells every ten seconds, and at once what a drain waits for. */
const rate = { perSecond: 1, burst: 5 }

/** What the clusters' callers do: each relay speaks for its own. */
export function loadRoutes(api: Api, door: Door): void {
  const { centre, metrics } = door
  const limit = new RateLimit(rate)
  api.openapi(
    createRoute({
      method: 'put',
      path: '/v1/clusters/{id}/load',
      tags: ['relay'],
      summary: 'Report what the own callers sent where since the last report (gzip accepted)',
      security: clusterSecurity,
      middleware: [forCluster(door, bodyBytesMax.report, 'rows')] as const,
      request: { params: z.object({ id: z.string() }), body: body(wire(loadRequestSchema, 'LoadRequest')) },
      responses: { 200: json(wire(loadAnswerSchema, 'LoadAnswer'), 'Taken in'), ...problems },
    }),
    async (c) => {
      const caller = requireCluster(c.get('caller'), c.req.valid('param').id)
      try {
        limit.take(caller.id, centre.now())
        const { answer, refused, acked, again } = await takeLoad(centre, caller, c.req.valid('json'))
        metrics.loads.inc({ outcome: again ? 'again' : 'taken' })
        metrics.loadRowsRefused.inc(refused.length)
        for (const { ms } of acked) metrics.propagation.observe({ cluster: caller.name }, ms / 1000)
        const [first] = refused
        if (first && !again)
          centre.log.info({ cluster: caller.name, count: refused.length, first }, 'rows of a load report are refused')
        return c.json(answer, 200)
      } catch (error) {
        metrics.loads.inc({ outcome: error instanceof Problem ? error.kind : 'internal' })
        throw error
      }
    },
  )
}
