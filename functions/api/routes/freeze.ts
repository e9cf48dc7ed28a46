import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import { loadFreeze } from '#control/traffic/advice.ts'
import { freeze, unfreeze } from '#control/traffic/freeze.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, json, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import type { Freeze } from '#mesh/model/traffic.ts'

const freezeSchema = z
  .object({
    frozen: z.boolean(),
    by: z.string().optional(),
    reason: z.string().optional(),
    at: z.string().optional().openapi({ format: 'date-time' }),
  })
  .openapi('Freeze')

/** Whether the health of clusters moves traffic by itself. */
export function freezeRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['freeze'], security: operatorSecurity, path: '/v1/freeze' }
  const answer = json(freezeSchema, 'Whether traffic is frozen')

  api.openapi(
    createRoute({
      ...{ ...shared, method: 'get', summary: 'Whether automatic shifts of traffic are stopped, by whom and why' },
      middleware: [forRole(door, 'viewer')] as const,
      responses: { 200: answer, ...problems },
    }),
    async (c) => c.json(freezeFrom(await centre.db.read((tx) => loadFreeze(tx, centre))), 200),
  )
  api.openapi(
    createRoute({
      ...{ ...shared, method: 'put', summary: 'Stop every automatic shift of traffic; drains go on' },
      middleware: [forRole(door, 'operator')] as const,
      request: { body: body(z.object({ reason: z.string().min(1).max(500) }).openapi('FreezeSpec')) },
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const caller = requireRole(c.get('caller'), 'operator')
      return c.json(freezeFrom(await freeze(centre, caller, c.req.valid('json').reason)), 200)
    },
  )
  api.openapi(
    createRoute({
      ...{ ...shared, method: 'delete', summary: 'Let health move traffic again' },
      middleware: [forRole(door, 'operator')] as const,
      request: { query: z.object({ reason: z.string().max(500).optional() }) },
      responses: { 204: { description: 'It is not frozen (any more)' }, ...problems },
    }),
    async (c) => {
      await unfreeze(centre, requireRole(c.get('caller'), 'operator'), c.req.valid('query').reason ?? '')
      return c.body(null, 204)
    },
  )
}

const freezeFrom = (found: Freeze | undefined): z.infer<typeof freezeSchema> =>
  found ? { frozen: true, by: found.by, reason: found.reason, at: timeText(found.at) } : { frozen: false }
