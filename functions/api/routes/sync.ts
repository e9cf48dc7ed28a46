import { createRoute, z } from '@hono/zod-openapi'
import { requireCluster } from '#control/caller.ts'
import { headsFor } from '#control/deliver.ts'
import { newId } from '#control/new-id.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import { bodyBytesMax, forCluster } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, clusterSecurity, json, problems, wire } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'
import { syncAnswerSchema, syncRequestSchema } from '#mesh/wire/sync.ts'
import { checkVersion } from '#mesh/wire/version.ts'

/** Reports of the clusters: the only way in for facts about a cluster. */
export function syncRoutes(api: Api, door: Door): void {
  const { centre, metrics } = door
  api.openapi(
    createRoute({
      method: 'post',
      path: '/v1/clusters/{id}/sync',
      tags: ['relay'],
      summary: 'Report what changed in the own cluster (gzip accepted)',
      security: clusterSecurity,
      middleware: [forCluster(door, bodyBytesMax.report, 'items')] as const,
      request: { params: z.object({ id: z.string() }), body: body(wire(syncRequestSchema, 'SyncRequest')) },
      responses: { 200: json(wire(syncAnswerSchema, 'SyncAnswer'), 'Taken in'), ...problems },
    }),
    async (c) => {
      const caller = requireCluster(c.get('caller'), c.req.valid('param').id)
      const request = c.req.valid('json')
      try {
        checkVersion(request.proto, 'relay')
        const moment = { now: centre.now(), newId: () => newId(centre.now()) }
        const { answer, changed, factsChanged } = await syncEndpoints(centre.db, caller, request, moment)
        // The hint leaves before the answer: a crash between them is mended by the relay's own repetition.
        if (changed.length > 0)
          centre.bus.announce({ kind: 'streams', changes: changed, ...(request.urgent ? { urgent: true } : {}) })
        if (factsChanged) centre.bus.announce({ kind: 'outbox' })
        metrics.syncs.inc({ outcome: 'taken' })
        metrics.syncItems.inc(request.items.length)
        return c.json({ ...answer, heads: await headsFor(centre.db, caller) }, 200)
      } catch (error) {
        metrics.syncs.inc({ outcome: error instanceof Problem ? error.kind : 'internal' })
        throw error
      }
    },
  )
}
