import { createRoute, z } from '@hono/zod-openapi'
import { type HistoryEntry, loadHistory, memberObjectText, placeOf } from '#control/traffic/history.ts'
import { sourcesObject } from '#control/traffic/name-sources.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { json, listOf, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'

const entrySchema = z
  .object({
    ...objectFields,
    kind: z.enum(['ClusterConfig', 'GlobalTrafficPolicy', 'SamenessGroup', 'PolicySources']),
    object: z.string().openapi({
      description:
        'a cluster, gtp/<namespace>/<name>, or group/<name>; of a member’s own objects gtp/<cluster>/<namespace>/<name>, ' +
        'group/<cluster>/<name>; mesh/policy-sources',
    }),
    at: z.string().openapi({ format: 'date-time' }),
    author: z.string(),
    cause: z
      .string()
      .openapi({ description: 'what led to a config; of a policy or a group the reason that was given' }),
    spec: z
      .record(z.string(), z.unknown())
      .nullable()
      .optional()
      .openapi({ description: 'of a policy or a group: as it was then; null = it was deleted' }),
  })
  .openapi('HistoryEntry')

/** A cluster, a policy or a group, as the history calls them. */
export const historyObjectSchema = z
  .string()
  .max(200)
  .regex(/^([a-z0-9-]+|gtp(\/[a-z0-9-]+){2,3}|group(\/[a-z0-9-]+){1,2}|mesh\/policy-sources)$/, {
    error:
      'is no cluster, no gtp/<namespace>/<name> and no group/<name> (of a member: gtp/<cluster>/<namespace>/<name>, …)',
  })

const querySchema = pageQuerySchema.extend({
  object: historyObjectSchema
    .optional()
    .openapi({ description: 'only of this one: a cluster, gtp/<namespace>/<name>, or group/<name>' }),
})

/** What was decided and what came of it: states of policies and groups, and the configs that were compiled. */
export function historyRoutes(api: Api, door: Door): void {
  const { centre } = door
  api.openapi(
    createRoute({
      method: 'get',
      path: '/v1/history',
      tags: ['history'],
      summary: 'Every config with its cause and author, every state of every policy and group, newest first',
      security: operatorSecurity,
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: querySchema },
      responses: { 200: json(listOf(entrySchema, 'HistoryEntry'), 'One page'), ...problems },
    }),
    async (c) => {
      const query = c.req.valid('query')
      const list = `history of ${query.object ?? 'all'}`
      const page = pageFrom(query, list)
      const asked = { object: query.object, after: page.after, limit: page.limit + 1 }
      const entries = await centre.db.read((tx) => loadHistory(tx, centre.mesh, asked))
      if (entries.length === 0 && query.object !== undefined && page.after === '')
        throw new Problem('not-found', `${query.object} has no history (any more)`)
      return c.json(pageOf(entries, page, list, { key: placeOf, item: entryFrom }), 200)
    },
  )
}

function entryFrom(entry: HistoryEntry): z.infer<typeof entrySchema> {
  const { row } = entry
  const at = timeText(row.at)
  const shared = { revision: row.revision, createdAt: at, at, conditions: [] }
  if (entry.kind === 'config') {
    const { cluster, cause, author } = entry.row
    return {
      id: `${cluster}@${row.revision}`,
      name: cluster,
      object: cluster,
      kind: 'ClusterConfig',
      cause,
      author,
      ...shared,
    }
  }
  const isTheirs = entry.kind === 'member'
  const object = isTheirs ? memberObjectText(entry.row) : entry.row.object
  const by = isTheirs ? `cluster:${entry.row.cluster}` : entry.row.by
  const { reason, spec } = entry.row
  const isGroup = object.startsWith('group/')
  const kind = object === sourcesObject ? 'PolicySources' : isGroup ? 'SamenessGroup' : 'GlobalTrafficPolicy'
  const said = spec === '' ? null : (JSON.parse(spec) as Record<string, unknown> | string[])
  return {
    ...{ id: `${object}@${row.revision}`, name: object.split('/').at(-1) ?? '', object, author: by, ...shared },
    ...{ kind },
    cause: reason,
    spec: Array.isArray(said) ? { clusters: said } : said,
  }
}
