import { createRoute, z } from '@hono/zod-openapi'
import { certifyIstiod } from '#control/trust/certify-istiod.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { body, json, operatorSecurity, problems } from '#functions/api/schemas.ts'

const askedSchema = z
  .object({
    csr: z.string().min(100).max(16_384).openapi({ description: 'PKCS#10, PEM, of a P-256 key' }),
    days: z.number().int().min(1).max(365).default(90),
  })
  .openapi('IstiodCaSpec')
const istiodCaSchema = z
  .object({
    certificate: z.string().openapi({ description: 'PEM' }),
    chain: z.string().openapi({ description: 'PEM: the certificate and what leads up to the root' }),
    roots: z.string().openapi({ description: 'PEM of every root that members trust' }),
    notAfter: z.string(),
    trustDomain: z.string().openapi({ description: 'what the istiod has to have as its trustDomain' }),
    mesh: z.string(),
    confined: z.boolean().openapi({ description: 'it can speak for no other cluster' }),
  })
  .openapi('IstiodCa')

/** CAs for istiods that stay in their clusters. */
export function istiodCaRoutes(api: Api, door: Door): void {
  api.openapi(
    createRoute({
      method: 'post',
      path: '/v1/clusters/{name}/istiod-ca',
      tags: ['trust'],
      summary: 'Certify the key of an istiod that stays in a cluster, for the trust domain of that cluster',
      security: operatorSecurity,
      middleware: [forRole(door, 'admin')] as const,
      request: { params: z.object({ name: z.string().max(63) }), body: body(askedSchema) },
      responses: { 201: json(istiodCaSchema, 'The CA'), ...problems },
    }),
    async (c) => {
      const asked = { cluster: c.req.valid('param').name, ...c.req.valid('json') }
      const made = await certifyIstiod(door.centre, c.get('caller'), asked)
      return c.json({ ...made, notAfter: made.notAfter.toISOString() }, 201)
    },
  )
}
