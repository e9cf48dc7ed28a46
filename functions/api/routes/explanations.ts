import { createRoute, z } from '@hono/zod-openapi'
import { openExplainer } from '#control/traffic/explain-path.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, json, operatorSecurity, problems, wire } from '#functions/api/schemas.ts'
import { labelFault, parseClusterName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { explanationSchema } from '#mesh/wire/explanation.ts'

const askedSchema = z
  .object({
    caller: z.string().max(400).openapi({ description: '<cluster>/<namespace>/<pod>' }),
    host: z.string().min(1).max(253),
    port: z.number().int().min(1).max(65_535).optional().openapi({ description: "absent: the service's only one" }),
  })
  .openapi('ExplanationAsk')

/** Why a call goes where it goes, as the centre sees it. */
export function explanationRoutes(api: Api, door: Door): void {
  const explained = openExplainer(door.centre)
  api.openapi(
    createRoute({
      ...{ method: 'post', path: '/v1/explanations', tags: ['explanations'], security: operatorSecurity },
      summary: 'The path of one call, step by step: nothing is sent, and nothing stored',
      middleware: [forRole(door, 'viewer')] as const,
      request: { body: body(askedSchema) },
      responses: { 200: json(wire(explanationSchema, 'Explanation'), 'The path'), ...problems },
    }),
    async (c) => {
      const { caller, host, port } = c.req.valid('json')
      const asked = { caller: parseCaller(caller), host, ...(port === undefined ? {} : { port }) }
      const { service, caller: by, ...said } = await explained(asked)
      const steps = said.steps.map((step) => ({ ...step }))
      const lands = said.lands.map((one) => ({ ...one }))
      const via = [...said.via]
      return c.json({ ...said, via, caller: { ...by }, ...(service ? { service } : {}), steps, lands }, 200)
    },
  )
}

/** Throws `invalid`. */
function parseCaller(text: string) {
  const [cluster = '', namespace = '', pod = '', ...more] = text.split('/')
  if (more.length > 0 || pod === '' || pod.length > 253 || labelFault(namespace) !== undefined)
    throw new Problem('invalid', `caller "${text}" is not <cluster>/<namespace>/<pod>`, {
      violations: [{ path: 'caller', reason: 'is not <cluster>/<namespace>/<pod>' }],
    })
  return { cluster: parseClusterName(cluster), namespace, pod }
}
