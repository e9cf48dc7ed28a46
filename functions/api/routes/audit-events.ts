import { createRoute, z } from '@hono/zod-openapi'
import { type AuditRow, loadAudit } from '#control/store/audit.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { json, listOf, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'

const eventSchema = z
  .object({
    ...objectFields,
    at: z.string(),
    caller: z.string(),
    action: z.string(),
    object: z.string(),
    detail: z.record(z.string(), z.unknown()),
  })
  .openapi('AuditEvent')

/** Who did what, newest first. Nothing of it can be changed or deleted here. */
export function auditRoutes(api: Api, door: Door): void {
  const { centre } = door
  api.openapi(
    createRoute({
      method: 'get',
      path: '/v1/audit-events',
      tags: ['audit-events'],
      summary: 'The audit log, newest first',
      security: operatorSecurity,
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(eventSchema, 'AuditEvent'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'audit-events')
      const rows = await centre.db.read((tx) => loadAudit(tx, centre.mesh, page.after, page.limit + 1))
      return c.json(pageOf(rows, page, 'audit-events', { key: (row) => row.id, item: eventFrom }), 200)
    },
  )
}

const eventFrom = (row: AuditRow): z.infer<typeof eventSchema> => ({
  id: row.id,
  name: row.action,
  revision: 1,
  createdAt: timeText(row.at),
  conditions: [],
  at: timeText(row.at),
  caller: row.caller,
  action: row.action,
  object: row.object,
  detail: JSON.parse(row.detail) as Record<string, unknown>,
})
