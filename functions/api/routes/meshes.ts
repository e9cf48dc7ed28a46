import { createRoute, z } from '@hono/zod-openapi'
import { loadMesh, loadMeshes, type MeshRow } from '#control/store/meshes.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { json, listOf, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'

const meshSchema = z.object(objectFields).openapi('Mesh')

/** The meshes of this centre that the caller's key belongs to: one. */
export function meshRoutes(api: Api, door: Door): void {
  const { centre } = door
  const item = (row: MeshRow): z.infer<typeof meshSchema> => ({
    id: row.name,
    name: row.name,
    revision: 1,
    createdAt: timeText(row.createdAt),
    conditions: [],
  })
  const shared = { method: 'get' as const, tags: ['meshes'], security: operatorSecurity }
  api.openapi(
    createRoute({
      ...shared,
      middleware: [forRole(door, 'viewer')] as const,
      path: '/v1/meshes',
      summary: 'All meshes by name',
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(meshSchema, 'Mesh'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'meshes')
      const rows = await centre.db.read((tx) => loadMeshes(tx, page.after, page.limit + 1))
      const own = rows.filter((row) => row.name === centre.mesh)
      return c.json(pageOf(own, page, 'meshes', { key: (row) => row.name, item }), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      middleware: [forRole(door, 'viewer')] as const,
      path: '/v1/meshes/{name}',
      summary: 'One mesh',
      request: { params: z.object({ name: z.string() }) },
      responses: { 200: json(meshSchema, 'The mesh'), ...problems },
    }),
    async (c) => {
      const { name } = c.req.valid('param')
      const row = name === centre.mesh ? await centre.db.read((tx) => loadMesh(tx, name)) : undefined
      if (!row) throw new Problem('not-found', `there is no mesh "${name.slice(0, 80)}" that this key belongs to`)
      return c.json(item(row), 200)
    },
  )
}
