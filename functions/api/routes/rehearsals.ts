import { createRoute, z } from '@hono/zod-openapi'
import type { Catalogue } from '#control/catalogue.ts'
import { lostMax, rehearseLoss } from '#control/traffic/rehearse.ts'
import { loadForecastFacts } from '#control/traffic/sight.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, json, operatorSecurity, problems, sharesSchema } from '#functions/api/schemas.ts'
import { type Rehearsal, verdicts } from '#mesh/foresee/rehearse.ts'

const requestSchema = z
  .strictObject({
    lose: z.array(z.string().min(1).max(300)).min(1).max(lostMax).openapi({
      description:
        'a cluster, a region, or a gateway as <address>:<port>; cluster/…, region/… and gateway/… say which it is',
    }),
  })
  .openapi('RehearsalRequest')

const verdict = z.enum(verdicts)
const ready = z.number().int().nullable()
const rehearsalSchema = z
  .object({
    lost: z.object({ clusters: z.array(z.string()), gateways: z.array(z.string()) }),
    worst: verdict,
    counts: z
      .record(verdict, z.number().int())
      .openapi({ description: 'pairs of a calling cluster and a service that it may call' }),
    services: z
      .array(
        z.object({
          ...{ service: z.string(), callers: z.array(z.string()), verdict },
          ...{ before: sharesSchema, after: sharesSchema },
          ready: z
            .object({ before: ready, after: ready })
            .openapi({ description: 'ready pods that serve them; null = not known' }),
        }),
      )
      .openapi({ description: 'all that is not unchanged, the worst first' }),
    overloads: z.array(
      z.object({
        ...{ service: z.string(), cluster: z.string(), of: z.enum(['requestsPerSecond', 'connections']) },
        ...{ capacity: z.number(), asked: z.number(), given: z.number() },
      }),
    ),
    notMeasured: z
      .array(z.string())
      .openapi({ description: 'clusters of which is not known how much they ask of a capacity' }),
  })
  .openapi('Rehearsal')

/** What a loss would do, before it happens. */
export function rehearsalRoutes(api: Api, door: Door, catalogue: Catalogue): void {
  const { centre } = door
  api.openapi(
    createRoute({
      method: 'post',
      ...{ tags: ['rehearsals'], security: operatorSecurity, path: '/v1/rehearsals' },
      summary: 'What each service would do without some clusters, regions or gateways; changes nothing',
      middleware: [forRole(door, 'viewer')] as const,
      request: { body: body(requestSchema) },
      responses: { 200: json(rehearsalSchema, 'What it would do'), ...problems },
    }),
    async (c) => {
      const { lose } = c.req.valid('json')
      return c.json(shown(await rehearseLoss(centre, lose, () => loadForecastFacts(centre, catalogue))), 200)
    },
  )
}

const shown = ({
  lost,
  worst,
  counts,
  services,
  overloads,
  notMeasured,
}: Rehearsal): z.infer<typeof rehearsalSchema> => ({
  ...{ lost: { clusters: [...lost.clusters], gateways: [...lost.gateways] }, worst, counts },
  services: services.map((one) => ({
    ...one,
    ...{ callers: [...one.callers], before: [...one.before], after: [...one.after] },
  })),
  overloads: overloads.map((one) => ({ ...one })),
  notMeasured: [...notMeasured],
})
