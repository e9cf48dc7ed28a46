import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import { policyFrom } from '#control/load-fleet.ts'
import { loadPolicies, loadPolicy, type TrafficPolicyRow } from '#control/store/policies.ts'
import { applyPolicy, rehearsePolicy, removePolicy } from '#control/traffic/apply-policy.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { dryRunSchema, rehearsal, rehearsalSchema } from '#functions/api/rehearsal.ts'
import { etagOf, expectedPlan, expectedRevision, hasRevision } from '#functions/api/revision.ts'
import { body, json, listOf, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'

const spec = z
  .record(z.string(), z.unknown())
  .openapi('GlobalTrafficPolicySpec', { description: 'see docs/traffic.md; a field that is not known is refused' })

const policySchema = z
  .object({
    ...objectFields,
    namespace: z.string(),
    updatedAt: z.string().openapi({ format: 'date-time' }),
    spec,
    unchanged: z.literal(true).optional().openapi({ description: 'after a change: it stood so already' }),
    warnings: z.array(z.string()).optional().openapi({ description: 'after a change: what its author should know' }),
  })
  .openapi('GlobalTrafficPolicy')

const params = z.object({ namespace: z.string(), name: z.string() })
const reason = z.string().max(500).optional().openapi({ description: 'why; for the history' })

/** The operators' policies for calls between clusters. */
export function trafficPolicyRoutes(api: Api, door: Door): void {
  const { centre } = door
  const list = 'global-traffic-policies'
  const shared = { tags: [list], security: operatorSecurity, path: `/v1/${list}/{namespace}/{name}` }

  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: `/v1/${list}`,
      summary: 'All policies, by namespace and name',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(policySchema, 'GlobalTrafficPolicy'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), list)
      const rows = (await centre.db.read((tx) => loadPolicies(tx, centre.mesh))).filter(
        (row) => keyOf(row) > page.after,
      )
      return c.json(pageOf(rows, page, list, { key: keyOf, item: (row) => shown(row) }), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      summary: 'One policy',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params },
      responses: { 200: json(policySchema, 'The policy'), 304: { description: 'Not changed' }, ...problems },
    }),
    async (c) => {
      const { namespace, name } = c.req.valid('param')
      const row = await centre.db.read((tx) => loadPolicy(tx, centre.mesh, { namespace, name }))
      if (!row) throw new Problem('not-found', `there is no traffic policy ${namespace}/${name}: see /v1/${list}`)
      const etag = etagOf(row.revision)
      if (hasRevision(c.req.header('if-none-match'), etag)) return c.body(null, 304, { etag })
      return c.json(shown(row), 200, { etag })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'put',
      summary: 'Write a policy, or refuse it with every reason',
      middleware: [forRole(door, 'operator')] as const,
      request: { params, query: z.object({ reason, dryRun: dryRunSchema }), body: body(spec) },
      responses: {
        200: json(z.union([policySchema, rehearsalSchema]), 'It stands, or with dryRun what it would change'),
        201: json(z.union([policySchema, rehearsalSchema]), 'It stands and is new, or with dryRun would'),
        ...problems,
      },
    }),
    async (c) => {
      if (c.req.valid('query').dryRun === 'true') {
        const known = await centre.db.read((tx) => loadPolicy(tx, centre.mesh, c.req.valid('param')))
        const change = { ...c.req.valid('param'), spec: c.req.valid('json') }
        return c.json(rehearsal(await rehearsePolicy(centre, change)), known ? 200 : 201)
      }
      const { row, created, unchanged, warnings } = await applyPolicy(
        centre,
        requireRole(c.get('caller'), 'operator'),
        {
          ...c.req.valid('param'),
          spec: c.req.valid('json'),
          expected: expectedRevision(c.req.header('if-match')),
          plan: expectedPlan(c.req.header('if-plan')),
          reason: c.req.valid('query').reason,
        },
      )
      const told = { ...(unchanged ? { unchanged } : {}), warnings: [...warnings] }
      return c.json({ ...shown(row), ...told }, created ? 201 : 200, { etag: etagOf(row.revision) })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      summary: 'Take a policy away: the next less specific one governs, or the default order',
      middleware: [forRole(door, 'operator')] as const,
      request: { params, query: z.object({ reason, dryRun: dryRunSchema }) },
      responses: {
        200: json(rehearsalSchema, 'With dryRun: what it would change'),
        204: { description: 'There is no such policy (any more)' },
        ...problems,
      },
    }),
    async (c) => {
      const expected = expectedRevision(c.req.header('if-match'))
      const plan = expectedPlan(c.req.header('if-plan'))
      const { reason, dryRun } = c.req.valid('query')
      if (dryRun === 'true') return c.json(rehearsal(await rehearsePolicy(centre, c.req.valid('param'))), 200)
      await removePolicy(centre, c.get('caller'), { ...c.req.valid('param'), expected, plan, reason })
      return c.body(null, 204)
    },
  )
}

/** Sorts as the rows come: by namespace, then name. */
const keyOf = ({ namespace, name }: TrafficPolicyRow): string => `${namespace}\u0001${name}`

const shown = (row: TrafficPolicyRow): z.infer<typeof policySchema> => ({
  id: row.id,
  name: row.name,
  namespace: row.namespace,
  revision: row.revision,
  createdAt: timeText(row.createdAt),
  updatedAt: timeText(row.updatedAt),
  conditions: policyFrom(row) ? [] : [unreadable],
  spec: JSON.parse(row.spec) as Record<string, unknown>,
})

const unreadable = {
  type: 'Applied',
  status: 'False' as const,
  reason: 'NotUnderstood',
  message:
    'a newer centre wrote it and this one cannot read it, so it governs nothing: upgrade this centre, or write it anew',
}
