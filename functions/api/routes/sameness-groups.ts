import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import { loadGroup, loadGroups, type SamenessGroupRow } from '#control/store/policies.ts'
import { applyGroup, rehearseGroup, removeGroup } from '#control/traffic/apply-group.ts'
import { partsOfObject } from '#control/traffic/member-objects.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { dryRunSchema, rehearsal, rehearsalSchema } from '#functions/api/rehearsal.ts'
import { etagOf, expectedPlan, expectedRevision, hasRevision } from '#functions/api/revision.ts'
import { body, json, listOf, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { originSchema, readTheirs, sharedFields, specIn, type TheirObject } from '#functions/api/theirs.ts'
import { Problem } from '#mesh/model/problem.ts'

const specSchema = z.record(z.string(), z.unknown()).openapi('SamenessGroupSpec', {
  description: '{ clusters: [<name>, …] }; a field that is not known is refused',
})
const groupSchema = z
  .object({
    ...objectFields,
    updatedAt: z.string().openapi({ format: 'date-time' }),
    origin: originSchema,
    clusters: z.array(z.string()).openapi({ description: 'in force' }),
    unchanged: z.literal(true).optional().openapi({ description: 'after a change: it stood so already' }),
    warnings: z.array(z.string()).optional().openapi({ description: 'after a change: what its author should know' }),
  })
  .openapi('SamenessGroup')

const params = z.object({ name: z.string() })
const reason = z.string().max(500).optional().openapi({ description: 'why; for the history' })

/** Clusters that policies and lists of consumers name together. */
export function samenessGroupRoutes(api: Api, door: Door): void {
  const { centre } = door
  const list = 'sameness-groups'
  const shared = { tags: [list], security: operatorSecurity, path: `/v1/${list}/{name}` }

  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: `/v1/${list}`,
      summary: 'All groups, by name: the operators’ and those among the objects of members',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(groupSchema, 'SamenessGroup'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), list)
      const own = await centre.db.read((tx) => loadGroups(tx, centre.mesh))
      const theirs = (await readTheirs(centre)).flatMap(shownTheirs)
      const all = [...own.map((row) => ({ key: row.name, item: shown(row) })), ...theirs]
      const rows = all.filter(({ key }) => key > page.after).toSorted((a, b) => (a.key < b.key ? -1 : 1))
      return c.json(pageOf(rows, page, list, { key: ({ key }) => key, item: ({ item }) => item }), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      summary: 'One group',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params },
      responses: { 200: json(groupSchema, 'The group'), 304: { description: 'Not changed' }, ...problems },
    }),
    async (c) => {
      const { name } = c.req.valid('param')
      const row = await centre.db.read((tx) => loadGroup(tx, centre.mesh, name))
      if (!row) throw new Problem('not-found', `there is no sameness group ${name}: see /v1/${list}`)
      const etag = etagOf(row.revision)
      if (hasRevision(c.req.header('if-none-match'), etag)) return c.body(null, 304, { etag })
      return c.json(shown(row), 200, { etag })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'put',
      summary: 'Write a group',
      middleware: [forRole(door, 'operator')] as const,
      request: { params, query: z.object({ reason, dryRun: dryRunSchema }), body: body(specSchema) },
      responses: {
        200: json(z.union([groupSchema, rehearsalSchema]), 'It stands, or with dryRun what it would change'),
        201: json(z.union([groupSchema, rehearsalSchema]), 'It stands and is new, or with dryRun would'),
        ...problems,
      },
    }),
    async (c) => {
      if (c.req.valid('query').dryRun === 'true') {
        const known = await centre.db.read((tx) => loadGroup(tx, centre.mesh, c.req.valid('param').name))
        const change = { ...c.req.valid('param'), spec: c.req.valid('json') }
        return c.json(rehearsal(await rehearseGroup(centre, change)), known ? 200 : 201)
      }
      const { row, created, unchanged, warnings } = await applyGroup(centre, requireRole(c.get('caller'), 'operator'), {
        ...c.req.valid('param'),
        spec: c.req.valid('json'),
        expected: expectedRevision(c.req.header('if-match')),
        plan: expectedPlan(c.req.header('if-plan')),
        reason: c.req.valid('query').reason,
      })
      const told = { ...(unchanged ? { unchanged } : {}), warnings: [...warnings] }
      return c.json({ ...shown(row), ...told }, created ? 201 : 200, { etag: etagOf(row.revision) })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      summary: 'Take a group away; refused while a policy names it',
      middleware: [forRole(door, 'operator')] as const,
      request: { params, query: z.object({ reason, dryRun: dryRunSchema }) },
      responses: {
        200: json(rehearsalSchema, 'With dryRun: what it would change'),
        204: { description: 'There is no such group (any more)' },
        ...problems,
      },
    }),
    async (c) => {
      const expected = expectedRevision(c.req.header('if-match'))
      const plan = expectedPlan(c.req.header('if-plan'))
      const { reason, dryRun } = c.req.valid('query')
      if (dryRun === 'true') return c.json(rehearsal(await rehearseGroup(centre, c.req.valid('param'))), 200)
      await removeGroup(centre, c.get('caller'), { ...c.req.valid('param'), expected, plan, reason })
      return c.body(null, 204)
    },
  )
}

function shownTheirs({ row, isSource }: TheirObject): { key: string; item: z.infer<typeof groupSchema> }[] {
  const parts = partsOfObject(row.object)
  if (parts.kind !== 'group') return []
  const clusters = isSource ? ((specIn(row)?.['clusters'] ?? []) as string[]) : []
  const item = { ...sharedFields(row, isSource), name: parts.name, clusters }
  return [{ key: `${parts.name}\u0001${row.cluster}`, item }]
}

const shown = (row: SamenessGroupRow): z.infer<typeof groupSchema> => ({
  id: row.id,
  name: row.name,
  revision: row.revision,
  createdAt: timeText(row.createdAt),
  updatedAt: timeText(row.updatedAt),
  origin: 'api',
  conditions: [],
  clusters: JSON.parse(row.clusters) as string[],
})
