import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import { policyFrom } from '#control/load-fleet.ts'
import { loadPolicies, loadPolicy, type TrafficPolicyRow } from '#control/store/policies.ts'
import { applyPolicy, rehearsePolicy, removePolicy } from '#control/traffic/apply-policy.ts'
import { partsOfObject } from '#control/traffic/member-objects.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { dryRunSchema, rehearsal, rehearsalSchema } from '#functions/api/rehearsal.ts'
import { etagOf, expectedPlan, expectedRevision, hasRevision } from '#functions/api/revision.ts'
import { body, json, listOf, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { originSchema, readTheirs, sharedFields, specIn, type TheirObject } from '#functions/api/theirs.ts'
import { Problem } from '#mesh/model/problem.ts'

const spec = z
  .record(z.string(), z.unknown())
  .openapi('GlobalTrafficPolicySpec', { description: 'see docs/traffic.md; a field that is not known is refused' })

const policySchema = z
  .object({
    ...objectFields,
    namespace: z.string(),
    updatedAt: z.string().openapi({ format: 'date-time' }),
    origin: originSchema,
    spec: spec.nullable().openapi({ description: 'in force; null = a member’s of which nothing is: see conditions' }),
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
      summary: 'All policies, by namespace and name: the operators’ and those among the objects of members',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema.extend({ cluster: z.string().max(63).optional() }) },
      responses: { 200: json(listOf(policySchema, 'GlobalTrafficPolicy'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), list)
      const { cluster } = c.req.valid('query')
      const own = cluster === undefined ? await centre.db.read((tx) => loadPolicies(tx, centre.mesh)) : []
      const theirs = (await readTheirs(centre)).filter((one) => cluster === undefined || one.row.cluster === cluster)
      const all = [...own.map((row) => ({ key: keyOf(row), item: shown(row) })), ...theirs.flatMap(shownTheirs)]
      const rows = all.filter(({ key }) => key > page.after).toSorted((a, b) => (a.key < b.key ? -1 : 1))
      return c.json(pageOf(rows, page, list, { key: ({ key }) => key, item: ({ item }) => item }), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      path: `/v1/${list}/{cluster}/{namespace}/{name}`,
      method: 'get',
      summary: 'One among the objects of a member: it is written there',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params: z.object({ cluster: z.string(), ...params.shape }) },
      responses: { 200: json(policySchema, 'The policy'), ...problems },
    }),
    async (c) => {
      const { cluster, namespace, name } = c.req.valid('param')
      const found = (await readTheirs(centre))
        .filter(({ row }) => row.cluster === cluster && row.object === `gtp/${namespace}/${name}`)
        .flatMap(shownTheirs)[0]
      if (!found)
        throw new Problem('not-found', `there is no traffic policy ${cluster}/${namespace}/${name}: see /v1/${list}`)
      return c.json(found.item, 200)
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

function shownTheirs({ row, isSource }: TheirObject): { key: string; item: z.infer<typeof policySchema> }[] {
  const parts = partsOfObject(row.object)
  if (parts.kind !== 'policy') return []
  const { namespace, name } = parts
  const item = { ...sharedFields(row, isSource), name, namespace, spec: specIn(row) }
  return [{ key: `${namespace}\u0001${name}\u0001${row.cluster}`, item }]
}

const shown = (row: TrafficPolicyRow): z.infer<typeof policySchema> => ({
  id: row.id,
  name: row.name,
  namespace: row.namespace,
  revision: row.revision,
  createdAt: timeText(row.createdAt),
  updatedAt: timeText(row.updatedAt),
  origin: 'api',
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
