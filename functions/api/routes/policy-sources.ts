import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import { loadMark, type MeshMarkRow } from '#control/store/mesh-marks.ts'
import { nameSources } from '#control/traffic/name-sources.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { etagOf, expectedRevision } from '#functions/api/revision.ts'
import { body, json, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'

const sourcesSchema = z
  .object({
    clusters: z.array(z.string()),
    revision: z.number().int(),
    by: z.string().optional(),
    reason: z.string().optional(),
    at: z.string().optional().openapi({ format: 'date-time' }),
  })
  .openapi('PolicySources')

const specSchema = z
  .object({ clusters: z.array(z.string().max(63)).max(100), reason: z.string().max(500).optional() })
  .strict()
  .openapi('PolicySourcesSpec')

/** Clusters whose own policies and groups count for the callers of all. */
export function policySourceRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['policy-sources'], security: operatorSecurity, path: '/v1/policy-sources' }
  const answer = json(sourcesSchema, 'The clusters, by whom and why')

  api.openapi(
    createRoute({
      ...{ ...shared, method: 'get', summary: 'The clusters whose policies and groups count for the whole mesh' },
      middleware: [forRole(door, 'viewer')] as const,
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const row = await centre.db.read((tx) => loadMark(tx, centre.mesh, 'policy-sources'))
      return c.json(shown(row), 200, { etag: etagOf(row?.revision ?? 0) })
    },
  )
  api.openapi(
    createRoute({
      ...{ ...shared, method: 'put', summary: 'Name them, in place of those named before; for admins' },
      middleware: [forRole(door, 'admin')] as const,
      request: { body: body(specSchema) },
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const expected = expectedRevision(c.req.header('if-match'))
      const change = { ...c.req.valid('json'), expected }
      const row = await nameSources(centre, requireRole(c.get('caller'), 'admin'), change)
      return c.json(shown(row), 200, { etag: etagOf(row.revision) })
    },
  )
}

const shown = (row: MeshMarkRow | undefined): z.infer<typeof sourcesSchema> => ({
  clusters: row?.value ? (JSON.parse(row.value) as string[]) : [],
  revision: row?.revision ?? 0,
  ...(row && row.by !== '' ? { by: row.by, reason: row.reason, at: timeText(row.at) } : {}),
})
