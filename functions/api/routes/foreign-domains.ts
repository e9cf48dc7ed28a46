import { createRoute, z } from '@hono/zod-openapi'
import { loadRelayTrust } from '#control/trust/facts.ts'
import {
  federate,
  foreignRoots,
  rehearseFederation,
  type ShownForeign,
  showForeign,
  unfederate,
} from '#control/trust/foreign.ts'
import { forRole } from '#functions/api/authorise.ts'
import { derivedRoute } from '#functions/api/derived.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { etagOf, expectedRevision } from '#functions/api/revision.ts'
import { revocationFrom, revocationSchema } from '#functions/api/routes/revocations.ts'
import { body, json, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { fingerprintOf } from '#mesh/trust/authority-digest.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'

export const foreignSchema = z
  .object({
    ...objectFields,
    trustDomain: z.string(),
    roots: z.array(z.object({ sha256: z.string(), notAfter: z.string(), certificate: z.string() })).openapi({
      description: 'those that may speak for it and for nothing else; certificate: PEM',
    }),
    sequence: z.number().int().nullable().openapi({ description: 'spiffe_sequence; null where the roots came as PEM' }),
    refreshSeconds: z.number().int().nullable().openapi({ description: 'spiffe_refresh_hint' }),
    updatedAt: z.string(),
    admittedBy: z.array(z.string()).openapi({
      description: 'exports that admit its workloads, <cluster>/<namespace>/<service>; nobody else does',
    }),
  })
  .openapi('ForeignDomain')

const specSchema = z
  .object({
    bundle: z.string().min(1).openapi({ description: 'the text of a SPIFFE bundle (JSON), or of PEM with the roots' }),
  })
  .openapi('ForeignDomainSpec')

const path = '/v1/foreign-domains'
const params = z.object({ trustDomain: z.string().min(1).max(255) })
const dryRun = z.enum(['true', 'false']).optional()

/** Trust domains of other meshes: whose roots are believed here, and who admits their workloads. */
export function foreignDomainRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['trust'], security: operatorSecurity, path: `${path}/{trustDomain}` }
  const all = () => centre.db.read((tx) => showForeign(tx, centre.mesh))

  derivedRoute(api, door, {
    ...{ path, name: 'ForeignDomain', tag: 'trust', schema: foreignSchema },
    summary: 'Trust domains of other meshes, and which exports admit them',
    load: async () => (await all()).map(foreignFrom),
  })
  api.openapi(
    createRoute({
      ...shared,
      method: 'put',
      summary: 'Believe another mesh: the roots of its trust domain, all of them, in place of those before',
      middleware: [forRole(door, 'admin')] as const,
      request: { params, query: z.object({ dryRun }), body: body(specSchema) },
      responses: {
        200: json(foreignSchema, 'As it is now, or with dryRun would be'),
        201: json(foreignSchema, 'It is new, or with dryRun would be'),
        ...problems,
      },
    }),
    async (c) => {
      const expected = expectedRevision(c.req.header('if-match'))
      const asked = { ...c.req.valid('param'), ...c.req.valid('json'), expected }
      const isRehearsal = c.req.valid('query').dryRun === 'true'
      const { row, created } = isRehearsal
        ? await rehearseFederation(centre, asked)
        : await federate(centre, c.get('caller'), asked)
      const found = (await all()).find((one) => one.row.trustDomain === row.trustDomain)
      const shown = foreignFrom({ row, roots: foreignRoots(row), admittedBy: found?.admittedBy ?? [] })
      return c.json(shown, created ? 201 : 200, { etag: etagOf(row.revision) })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      summary: 'Believe another mesh no more: nobody of it is admitted, and what it has open ends',
      middleware: [forRole(door, 'admin')] as const,
      request: { params, query: z.object({ reason: z.string().min(1).max(500) }) },
      responses: {
        200: json(revocationSchema, 'The revocation by whose number relays end what was open'),
        204: { description: 'There was none' },
        ...problems,
      },
    }),
    async (c) => {
      const expected = expectedRevision(c.req.header('if-match'))
      const asked = { ...c.req.valid('param'), ...c.req.valid('query'), expected }
      const gone = await unfederate(centre, c.get('caller'), asked)
      if (!gone) return c.body(null, 204)
      const relays = await centre.db.read((tx) => loadRelayTrust(tx, centre.mesh, centre.now()))
      return c.json(revocationFrom(gone, relays), 200)
    },
  )
}

export function foreignFrom({ row, roots, admittedBy }: ShownForeign): z.infer<typeof foreignSchema> {
  const { trustDomain, revision, createdAt, updatedAt, sequence, refreshSeconds } = row
  return {
    ...{ id: trustDomain, name: trustDomain, revision, createdAt: timeText(createdAt), conditions: [], trustDomain },
    roots: roots.map((one) => ({
      ...{ sha256: fingerprintOf(one), notAfter: one.notAfter.toISOString(), certificate: certificatePem(one) },
    })),
    ...{ sequence, refreshSeconds, updatedAt: timeText(updatedAt ?? createdAt), admittedBy: [...admittedBy] },
  }
}
