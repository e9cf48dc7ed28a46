import { createRoute, z } from '@hono/zod-openapi'
import type { Catalogue } from '#control/catalogue.ts'
import { planRollBack, rollBack } from '#control/traffic/roll-back.ts'
import { loadForecastFacts } from '#control/traffic/sight.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { dryRunSchema } from '#functions/api/rehearsal.ts'
import { expectedPlan } from '#functions/api/revision.ts'
import { historyObjectSchema } from '#functions/api/routes/history.ts'
import { planSchema, shownPlan } from '#functions/api/routes/plans.ts'
import { body, json, operatorSecurity, problems } from '#functions/api/schemas.ts'

const requestSchema = z
  .strictObject({
    object: historyObjectSchema.openapi({
      description:
        'a cluster: all policies and groups as when that config was compiled; or gtp/…, group/…: that one alone',
    }),
    revision: z.number().int().min(1),
    reason: z.string().max(300).optional().openapi({ description: 'why; for the history' }),
  })
  .openapi('RollbackSpec')
const doneSchema = z
  .object({
    objects: z
      .array(z.string())
      .openapi({ description: 'what was written or taken away; empty = it stood so already' }),
    warnings: z.array(z.string()),
  })
  .openapi('Rollback')

/** Back to what operators had decided once. */
export function rollbackRoutes(api: Api, door: Door, catalogue: Catalogue): void {
  const { centre } = door
  api.openapi(
    createRoute({
      method: 'post',
      ...{ tags: ['history'], security: operatorSecurity, path: '/v1/rollbacks' },
      summary: 'Write policies and groups as they were once, as new revisions: all of them or none',
      middleware: [forRole(door, 'operator')] as const,
      request: { query: z.object({ dryRun: dryRunSchema }), body: body(requestSchema) },
      responses: {
        200: json(z.union([doneSchema, planSchema]), 'Done, or with dryRun the plan of it'),
        ...problems,
      },
    }),
    async (c) => {
      const { object, revision, reason } = c.req.valid('json')
      const to = { object, revision }
      if (c.req.valid('query').dryRun === 'true')
        return c.json(shownPlan(await planRollBack(centre, to, () => loadForecastFacts(centre, catalogue))), 200)
      const plan = expectedPlan(c.req.header('if-plan'))
      const { objects, warnings } = await rollBack(centre, c.get('caller'), { to, reason, plan })
      return c.json({ objects: [...objects], warnings: [...warnings] }, 200)
    },
  )
}
