import { createRoute } from '@hono/zod-openapi'
import { issueToken } from '#control/authenticate.ts'
import { joinCluster } from '#control/join-cluster.ts'
import { forStrangers } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, json, problems, wire } from '#functions/api/schemas.ts'
import { joinAnswerSchema, joinRequestSchema, tokenAnswerSchema, tokenRequestSchema } from '#mesh/wire/join.ts'

/** The two doors without a credential in the header: join, and an access token for a member's assertion. */
export function joinRoutes(api: Api, door: Door): void {
  api.openapi(
    createRoute({
      method: 'post',
      path: '/v1/join',
      tags: ['relay'],
      summary: 'Redeem a join token for the membership of its cluster',
      middleware: [forStrangers(door)] as const,
      request: { body: body(wire(joinRequestSchema, 'JoinRequest')) },
      responses: { 200: json(wire(joinAnswerSchema, 'JoinAnswer'), 'The cluster is a member'), ...problems },
    }),
    async (c) => {
      const answer = await joinCluster(door.centre, c.req.valid('json'))
      return c.json({ ...answer, controlPlaneCa: answer.controlPlaneCa + (door.ownCa ?? '') }, 200)
    },
  )
  api.openapi(
    createRoute({
      method: 'post',
      path: '/v1/token',
      tags: ['relay'],
      summary: 'An access token of one hour for an assertion by the key the cluster joined with (RFC 7523)',
      middleware: [forStrangers(door)] as const,
      request: { body: body(wire(tokenRequestSchema, 'TokenRequest')) },
      responses: { 200: json(wire(tokenAnswerSchema, 'TokenAnswer'), 'Bearer token'), ...problems },
    }),
    async (c) => c.json(await issueToken(door.centre, c.req.valid('json').assertion), 200),
  )
}
