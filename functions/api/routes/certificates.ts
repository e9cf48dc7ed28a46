import { createRoute, z } from '@hono/zod-openapi'
import { requireCluster } from '#control/caller.ts'
import { issueForCluster } from '#control/issue-intermediate.ts'
import { bodyBytesMax, forCluster } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, clusterSecurity, json, problems, wire } from '#functions/api/schemas.ts'
import { signAnswerSchema, signRequestSchema } from '#mesh/wire/join.ts'

/** Certificates of the clusters: their issuing CAs, and their relays' serving certificates. */
export function certificateRoutes(api: Api, door: Door): void {
  api.openapi(
    createRoute({
      method: 'post',
      path: '/v1/clusters/{id}/certificates',
      tags: ['relay'],
      summary: "Certify the cluster's issuing CA, or its relay's serving key, from a CSR",
      security: clusterSecurity,
      middleware: [forCluster(door, bodyBytesMax.stranger * 2)] as const,
      request: { params: z.object({ id: z.string() }), body: body(wire(signRequestSchema, 'SignRequest')) },
      responses: { 200: json(wire(signAnswerSchema, 'SignAnswer'), 'The certificate'), ...problems },
    }),
    async (c) => {
      const caller = requireCluster(c.get('caller'), c.req.valid('param').id)
      return c.json(await issueForCluster(door.centre, caller, c.req.valid('json')), 200)
    },
  )
}
