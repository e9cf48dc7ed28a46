import { z } from '@hono/zod-openapi'
import { Problem } from '#mesh/model/problem.ts'

const pageLimitMax = 500

/** `?limit=&cursor=` of every list. */
export const pageQuerySchema = z.object({
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(pageLimitMax)
    .optional()
    .openapi({ description: 'at most 500; 100 if absent' }),
  cursor: z.string().max(1000).optional().openapi({ description: '`nextCursor` of the page before; opaque' }),
})
export type PageQuery = z.infer<typeof pageQuerySchema>

/** Where a page starts and how long it is: `after` is the sort key of the last object of the page before. */
export type Page = { readonly after: string; readonly limit: number }

/** Throws `invalid` for a cursor that this list never gave. */
export function pageFrom(query: PageQuery, list: string): Page {
  const limit = query.limit ?? 100
  if (query.cursor === undefined) return { after: '', limit }
  const [name, after, ...rest] = Buffer.from(query.cursor, 'base64url').toString('utf8').split('\0')
  if (name !== list || after === undefined || rest.length > 0)
    throw new Problem('invalid', `the cursor is not one of the list ${list}: start again without a cursor`, {
      violations: [{ path: 'cursor', reason: `not given by the list ${list}` }],
    })
  return { after, limit }
}

/** One page: `rows` were read with limit + 1, so that a full last page has no cursor. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  page: Page,
  list: string,
  shape: { readonly key: (row: Row) => string; readonly item: (row: Row) => Item },
): { items: Item[]; nextCursor?: string } {
  const shown = rows.slice(0, page.limit)
  const last = shown.at(-1)
  const items = shown.map(shape.item)
  if (rows.length <= page.limit || last === undefined) return { items }
  return { items, nextCursor: Buffer.from(`${list}\0${shape.key(last)}`).toString('base64url') }
}
