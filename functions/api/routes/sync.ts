import { createRoute, z } from '@hono/zod-openapi'
import { requireCluster } from '#control/caller.ts'
import { headsFor } from '#control/deliver.ts'
import { newId } from '#control/new-id.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import { bodyBytesMax, forCluster } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { hearingsOf } from '#functions/api/hearings.ts'
import { body, clusterSecurity, json, problems, wire } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'
import { reportKeys } from '#mesh/wire/report.ts'
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
        if (request.items.some(({ k }) => k === reportKeys.trust))
          centre.bus.announce({ kind: 'trust', clusterId: caller.id })
        if (factsChanged) centre.bus.announce({ kind: 'outbox' })
        hearingsOf(centre).set(caller.id, { takenAt: centre.now() })
        metrics.syncs.inc({ outcome: 'taken' })
        metrics.syncItems.inc(request.items.length)
        return c.json({ ...answer, heads: await headsFor(centre.db, caller) }, 200)
      } catch (error) {
        noteRefusal(caller.id, error)
        metrics.syncs.inc({ outcome: error instanceof Problem ? error.kind : 'internal' })
        throw error
      }
    },
  )

  /** A gap or an old epoch is mended by the relay itself; these stay until somebody does something. */
  function noteRefusal(id: string, error: unknown): void {
    if (!(error instanceof Problem)) return
    if (error.kind !== 'too-many' && error.extra['epochAheadMs'] === undefined) return
    const known = hearingsOf(centre)
    const why = error.message.slice(0, 500)
    if (known.get(id)?.refusedFor !== why) centre.log.warn({ cluster: id, why }, 'a report is refused')
    known.set(id, { ...known.get(id), refusedFor: why })
  }
}
