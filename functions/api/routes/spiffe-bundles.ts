import { createRoute, z } from '@hono/zod-openapi'
import { loadMembers } from '#control/store/clusters.ts'
import { loadBundle } from '#control/trust/bundle.ts'
import { forStrangers } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { json, problems } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'
import { spiffeBundle } from '#mesh/trust/spiffe-bundle.ts'

const spiffeBundleSchema = z
  .object({
    keys: z.array(
      z.object({
        ...{ use: z.literal('x509-svid'), kty: z.string(), x5c: z.tuple([z.string()]).readonly() },
        ...{ crv: z.string().optional(), x: z.string().optional(), y: z.string().optional() },
        ...{ n: z.string().optional(), e: z.string().optional() },
      }),
    ),
    spiffe_sequence: z.number().int(),
    spiffe_refresh_hint: z.number().int().openapi({ description: 'seconds' }),
  })
  .openapi('SpiffeBundle')

/**
 * The SPIFFE bundle endpoint (`https_web`): whoever wants to believe a cluster of this mesh reads its roots here. Public,
 * as roots are; of a trust domain that is no member's, or was revoked, nothing is said but that.
 */
export function spiffeBundleRoutes(api: Api, door: Door): void {
  const { centre } = door
  api.openapi(
    createRoute({
      method: 'get',
      path: '/v1/spiffe-bundles/{trustDomain}',
      tags: ['trust'],
      summary: 'The roots of a trust domain as a SPIFFE bundle, for other meshes',
      middleware: [forStrangers(door)] as const,
      request: { params: z.object({ trustDomain: z.string().max(255) }) },
      responses: { 200: json(spiffeBundleSchema, 'JWK set'), ...problems },
    }),
    async (c) => {
      const { trustDomain } = c.req.valid('param')
      const bundle = await centre.db.read(async (tx) => {
        const members = await loadMembers(tx, centre.mesh)
        const inForce = (await loadBundle(tx, centre.mesh))?.bundle
        const isRevoked = inForce?.revoked.some((one) => one.trustDomain === trustDomain)
        return members.some((row) => row.trustDomain === trustDomain) && !isRevoked ? inForce : undefined
      })
      if (!bundle) throw new Problem('not-found', 'no cluster of this mesh has that trust domain')
      c.header('cache-control', 'public, max-age=60')
      const said = spiffeBundle(bundle)
      return c.json({ ...said, keys: [...said.keys] }, 200)
    },
  )
}
