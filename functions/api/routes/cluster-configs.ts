import { createRoute, z } from '@hono/zod-openapi'
import { loadClusterByName, loadClusters } from '#control/store/clusters.ts'
import {
  type CompiledRow,
  loadCompiled,
  loadCompiledAt,
  loadCompiledHistory,
  loadLastCompiled,
} from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { etagOf, hasRevision } from '#functions/api/revision.ts'
import {
  conditionSchema,
  json,
  listOf,
  objectFields,
  operatorSecurity,
  problems,
  timeText,
} from '#functions/api/schemas.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

const headSchema = z
  .object({
    ...objectFields,
    cluster: z.string(),
    hash: z.string(),
    cause: z.string().openapi({ description: 'what led to it' }),
    author: z.string(),
    at: z.string(),
    ackedAt: z
      .string()
      .nullable()
      .openapi({ description: 'when the last proxy of the cluster had it; null = not (yet) told' }),
  })
  .openapi('ClusterConfigHead')
const configSchema = headSchema
  .extend({ entries: z.record(z.string(), z.unknown()).openapi({ description: 'as delivered, by key' }) })
  .openapi('ClusterConfig')

const params = z.object({ cluster: z.string().max(63) })
const whichSchema = z.object({
  revision: z.coerce.number().int().min(1).optional(),
  at: z.iso.datetime({ offset: true }).optional().openapi({ description: 'RFC 3339: the one that stood then' }),
})
type Which = z.infer<typeof whichSchema>

/** What was compiled for each cluster, now and before: what cluster B believed at 14:03. */
export function clusterConfigRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { method: 'get' as const, tags: ['cluster-configs'], security: operatorSecurity }

  api.openapi(
    createRoute({
      ...shared,
      path: '/v1/cluster-configs',
      summary: 'The newest config of each cluster, without its entries',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(headSchema, 'ClusterConfig'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'cluster-configs')
      const rows = await centre.db.read(async (tx) => {
        const clusters = await loadClusters(tx, centre.mesh, page.after, page.limit + 1)
        const heads: { readonly cluster: string; readonly row: CompiledRow | undefined }[] = []
        for (const { name } of clusters)
          heads.push({ cluster: name, row: await loadLastCompiled(tx, centre.mesh, name) })
        return heads
      })
      const { items, nextCursor } = pageOf(rows, page, 'cluster-configs', {
        key: ({ cluster }) => cluster,
        item: ({ row }) => (row ? [headFrom(row)] : []),
      })
      return c.json({ items: items.flat(), ...(nextCursor === undefined ? {} : { nextCursor }) }, 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      path: '/v1/cluster-configs/{cluster}',
      summary: 'The config of one cluster: the newest, the one of a revision, or the one that stood at a moment',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params, query: whichSchema },
      responses: { 200: json(configSchema, 'The config'), 304: { description: 'Not changed' }, ...problems },
    }),
    async (c) => {
      const { cluster } = c.req.valid('param')
      const which = c.req.valid('query')
      const row = await centre.db.read((tx) => loadWhich(tx, centre.mesh, cluster, which))
      if (!row) {
        const known = await centre.db.read((tx) => loadClusterByName(tx, centre.mesh, cluster))
        throw known
          ? notKept(cluster, which)
          : new Problem('not-found', `there is no cluster "${cluster}": see /v1/clusters`)
      }
      const etag = etagOf(row.revision)
      if (hasRevision(c.req.header('if-none-match'), etag)) return c.body(null, 304, { etag })
      return c.json({ ...headFrom(row), entries: JSON.parse(row.body) as Record<string, unknown> }, 200, { etag })
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      path: '/v1/cluster-configs/{cluster}/revisions',
      summary: 'The history of a cluster, newest first',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params, query: pageQuerySchema },
      responses: { 200: json(listOf(headSchema, 'ClusterConfigRevision'), 'One page'), ...problems },
    }),
    async (c) => {
      const { cluster } = c.req.valid('param')
      const page = pageFrom(c.req.valid('query'), `revisions of ${cluster}`)
      const before = page.after === '' ? undefined : revisionIn(page.after)
      const rows = await centre.db.read((tx) =>
        loadCompiledHistory(tx, centre.mesh, cluster, { before, limit: page.limit + 1 }),
      )
      const shape = { key: (row: Head) => String(row.revision), item: headFrom }
      return c.json(pageOf(rows, page, `revisions of ${cluster}`, shape), 200)
    },
  )
}

/** Throws `invalid` where a revision and a moment are asked for at once. */
function loadWhich(tx: Tx, mesh: MeshName, cluster: string, { revision, at }: Which): Promise<CompiledRow | undefined> {
  if (revision !== undefined && at !== undefined) {
    const reason = 'with revision: ask for one of the two'
    throw new Problem('invalid', `at: ${reason}`, { violations: [{ path: 'at', reason }] })
  }
  if (at !== undefined) return loadCompiledAt(tx, mesh, cluster, Date.parse(at))
  return revision === undefined ? loadLastCompiled(tx, mesh, cluster) : loadCompiled(tx, mesh, cluster, revision)
}

function notKept(cluster: string, { revision, at }: Which): Problem {
  const older = at === undefined ? 'no config' : `no config of ${at} or before (any more)`
  const which = revision === undefined ? older : `no revision ${revision} (any more)`
  return new Problem('not-found', `cluster "${cluster}" has ${which}: see /v1/cluster-configs/${cluster}/revisions`)
}

/** Throws `invalid` for a cursor that somebody else made. */
function revisionIn(cursor: string): number {
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor)
  const reason = 'not given by this list: start again without a cursor'
  throw new Problem('invalid', `cursor: ${reason}`, { violations: [{ path: 'cursor', reason }] })
}

type Head = Omit<CompiledRow, 'body'> & { readonly body?: string }

const conditionsIn = z.object({
  conditions: z.object({ conditions: z.array(conditionSchema.omit({ status: true })) }).optional(),
})

const headFrom = (row: Head): z.infer<typeof headSchema> => ({
  id: `${row.cluster}@${row.revision}`,
  name: row.cluster,
  revision: row.revision,
  createdAt: timeText(row.at),
  conditions: conditionsOf(row.body),
  cluster: row.cluster,
  hash: row.hash,
  cause: row.cause,
  author: row.author,
  at: timeText(row.at),
  ackedAt: row.ackedAt === null ? null : timeText(row.ackedAt),
})

function conditionsOf(body: string | undefined): z.infer<typeof headSchema>['conditions'] {
  if (body === undefined) return []
  const said = conditionsIn.parse(JSON.parse(body)).conditions?.conditions ?? []
  return said.map((condition) => ({ ...condition, status: 'True' as const }))
}
