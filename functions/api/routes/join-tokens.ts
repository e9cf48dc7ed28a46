import { createRoute, z } from '@hono/zod-openapi'
import { createJoinToken } from '#control/join-cluster.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { idempotencyKey } from '#functions/api/idempotency.ts'
import { json, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'

const joinTokenSchema = z
  .object({
    token: z.string().openapi({ description: 'shown once; its hash is all that is kept' }),
    cluster: z.string(),
    clusterId: z.string(),
    expiresAt: z.string().openapi({ format: 'date-time' }),
  })
  .openapi('JoinToken')

/** Single-use join tokens. They cannot be listed: there is nothing to see but hashes. */
export function joinTokenRoutes(api: Api, door: Door): void {
  api.openapi(
    createRoute({
      method: 'post',
      path: '/v1/clusters/{name}/join-tokens',
      tags: ['clusters'],
      summary: 'Make a join token: one use, one hour, this cluster only. The same Idempotency-Key gives the same token',
      security: operatorSecurity,
      middleware: [forRole(door, 'operator')] as const,
      request: { params: z.object({ name: z.string() }), headers: idempotencyKey },
      responses: { 201: json(joinTokenSchema, 'The token'), ...problems },
    }),
    async (c) => {
      const made = await createJoinToken(door.centre, c.get('caller'), {
        cluster: c.req.valid('param').name,
        caSha256: door.caSha256(),
        nonce: c.req.valid('header')['idempotency-key'],
      })
      return c.json({ ...made, expiresAt: timeText(made.expiresAt) }, 201)
    },
  )
}
