import { createRoute, z } from '@hono/zod-openapi'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { json, listOf, operatorSecurity, problems } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Filters that every derived list takes. */
const filterSchema = pageQuerySchema.extend({
  cluster: z.string().max(63).optional().openapi({ description: 'only of this cluster' }),
  service: z.string().max(127).optional().openapi({ description: 'only this one: <namespace>/<name>' }),
})

/** What a derived list shows of one thing. Its id is its sort key too. */
export type Derived = {
  readonly id: string
  readonly name: string
  readonly namespace?: string
  readonly cluster?: string | undefined
  readonly clusters?: readonly string[]
}

/** A list of the API that is computed from what clusters report and the centre compiled: read-only, sorted by id. */
export type DerivedList<T extends Derived> = {
  readonly path: string
  readonly name: string
  readonly tag: string
  readonly summary: string
  readonly schema: z.ZodType<T>
  readonly load: () => Promise<readonly T[]>
  /** False where single objects have a route of their own. */
  readonly single?: false
}

/** Serves a derived list. Filters and pages work the same on all of them. */
export function derivedRoute<T extends Derived>(api: Api, door: Door, list: DerivedList<T>): void {
  api.openapi(
    createRoute({
      method: 'get',
      path: list.path,
      tags: [list.tag],
      summary: list.summary,
      security: operatorSecurity,
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: filterSchema },
      responses: { 200: json(listOf(list.schema, list.name), 'One page'), ...problems },
    }),
    async (c) => {
      const query = c.req.valid('query')
      const page = pageFrom(query, list.path)
      const wanted = (await list.load())
        .filter((item) => matches(item, query) && item.id > page.after)
        .toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
      const shape = { key: (item: T) => item.id, item: (item: T) => item }
      return c.json(pageOf(wanted, page, list.path, shape) as never, 200)
    },
  )
  if (list.single === false) return
  // An id may hold slashes, which the document's templates cannot say: there it is one parameter.
  api.openAPIRegistry.registerPath({
    method: 'get',
    path: `${list.path}/{id}`,
    tags: [list.tag],
    summary: 'One of them, by id (which may hold slashes)',
    security: operatorSecurity,
    request: { params: z.object({ id: z.string() }) },
    responses: { 200: json(list.schema, 'The object'), ...problems },
  })
  api.get(`${list.path}/:id{.+}`, forRole(door, 'viewer'), async (c) => {
    const id = c.req.param('id') ?? ''
    const found = (await list.load()).find((item) => item.id === id)
    if (!found) throw new Problem('not-found', `there is no ${id.slice(0, 200)} in ${list.path}`)
    return c.json(found)
  })
}

function matches(
  item: Derived,
  { cluster, service }: { cluster?: string | undefined; service?: string | undefined },
): boolean {
  if (cluster !== undefined && item.cluster !== cluster && !item.clusters?.includes(cluster)) return false
  return service === undefined || `${item.namespace ?? ''}/${item.name}` === service
}
