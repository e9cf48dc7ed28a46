import { createRoute, z } from '@hono/zod-openapi'
import type { Catalogue } from '#control/catalogue.ts'
import type { Wish } from '#control/traffic/next-fleet.ts'
import { type CentrePlan, planChanges, wishesMax } from '#control/traffic/plan.ts'
import { loadForecastFacts } from '#control/traffic/sight.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, json, operatorSecurity, problems, sharesSchema } from '#functions/api/schemas.ts'

const named = {
  kind: z.enum(['GlobalTrafficPolicy', 'SamenessGroup']),
  namespace: z.string().max(63).optional().openapi({ description: 'of a policy; absent = default' }),
  name: z.string().max(63),
}
const tooMany = `a plan is of at most ${wishesMax} objects: make several of them`
const requestSchema = z
  .strictObject({
    objects: z
      .array(z.strictObject({ ...named, spec: z.record(z.string(), z.unknown()) }))
      .max(wishesMax, tooMany)
      .optional()
      .openapi({ description: 'to be written, in this order' }),
    remove: z
      .array(z.strictObject(named))
      .max(wishesMax, tooMany)
      .optional()
      .openapi({ description: 'to be taken away, after that' }),
  })
  .refine(({ objects = [], remove = [] }) => objects.length + remove.length > 0, {
    error: 'say objects, remove or both',
  })
  .openapi('PlanRequest')

const entry = z.record(z.string(), z.unknown()).nullable()
export const planSchema = z
  .object({
    hash: z.string().openapi({ description: 'of all steps; of a plan of one object that of its step' }),
    steps: z.array(
      z.object({
        object: z.string(),
        hash: z.string().openapi({ description: 'for the header if-plan of its PUT or DELETE' }),
        unchanged: z.boolean().openapi({ description: 'it stands so already' }),
        warnings: z.array(z.string()),
      }),
    ),
    clusters: z.array(
      z.object({
        cluster: z.string(),
        hash: z.string().openapi({ description: 'that its config would have' }),
        changes: z.number().int(),
      }),
    ),
    changes: z
      .array(z.object({ key: z.string(), clusters: z.array(z.string()), before: entry, after: entry }))
      .openapi({ description: 'entries of configs that would differ; what is the same for several clusters once' }),
    shares: z
      .array(
        z.object({
          ...{ service: z.string(), callers: z.array(z.string()), before: sharesSchema, after: sharesSchema },
          requestsPerSecond: z.number().nullable().openapi({ description: 'of those callers; null = not measured' }),
          notMeasured: z.number().int().openapi({ description: 'how many of the callers are not measured' }),
        }),
      )
      .openapi({ description: 'where calls would go that go elsewhere now; 1 = all of them' }),
    warnings: z.array(
      z.object({ kind: z.string(), service: z.string(), callers: z.array(z.string()), message: z.string() }),
    ),
  })
  .openapi('Plan')

/** What a change would do, before it is done. */
export function planRoutes(api: Api, door: Door, catalogue: Catalogue): void {
  const { centre } = door
  api.openapi(
    createRoute({
      method: 'post',
      ...{ tags: ['plans'], security: operatorSecurity, path: '/v1/plans' },
      summary: 'What changes of policies and groups would do; stores nothing',
      middleware: [forRole(door, 'viewer')] as const,
      request: { body: body(requestSchema) },
      responses: { 200: json(planSchema, 'The plan'), ...problems },
    }),
    async (c) => {
      const { objects = [], remove = [] } = c.req.valid('json')
      const wishes = [...objects, ...remove].map(wishFrom)
      return c.json(shownPlan(await planChanges(centre, wishes, () => loadForecastFacts(centre, catalogue))), 200)
    },
  )
}

const wishFrom = (said: z.infer<z.ZodObject<typeof named>> & { readonly spec?: unknown }): Wish => {
  const { kind, namespace = 'default', name, spec } = said
  const wanted = spec === undefined ? {} : { spec }
  return kind === 'SamenessGroup' ? { kind, name, ...wanted } : { kind, namespace, name, ...wanted }
}

/** As the API shows it. */
export const shownPlan = ({
  hash,
  steps,
  clusters,
  changes,
  shares,
  warnings,
}: CentrePlan): z.infer<typeof planSchema> => ({
  hash,
  steps: steps.map((one) => ({ ...one, warnings: [...one.warnings] })),
  clusters: clusters.map((one) => ({ ...one })),
  changes: changes.map(({ key, clusters: touched, before, after }) => ({
    ...{ key, clusters: [...touched] },
    ...{ before: before ? { ...before } : null, after: after ? { ...after } : null },
  })),
  shares: shares.map((one) => ({
    ...one,
    ...{ callers: [...one.callers], before: [...one.before], after: [...one.after] },
  })),
  warnings: warnings.map((one) => ({ ...one, callers: [...one.callers] })),
})
