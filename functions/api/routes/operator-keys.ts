import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import { createOperatorKey, removeOperatorKey } from '#control/operator-key.ts'
import { loadOperatorKeys, type OperatorKeyRow } from '#control/store/operator-keys.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { idempotencyKey } from '#functions/api/idempotency.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { body, json, listOf, objectFields, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'

const role = z.enum(['viewer', 'operator', 'admin'])
const keySchema = z
  .object({
    ...objectFields,
    role,
    expiresAt: z.string().nullable(),
    revokedAt: z.string().nullable(),
  })
  .openapi('OperatorKey')
const madeSchema = keySchema
  .extend({ key: z.string().openapi({ description: 'shown once; its hash is all that is kept' }) })
  .openapi('NewOperatorKey')
const newKeySchema = z
  .object({
    name: z.string().min(1).max(120),
    role,
    expiresAt: z.iso.datetime({ offset: true }).optional(),
  })
  .openapi('OperatorKeySpec')

/** Keys of operators: hashed, with a role, expiring, revocable. For administrators. */
export function operatorKeyRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['operator-keys'], security: operatorSecurity }
  const item = (row: OperatorKeyRow) => keyFrom(row, centre.now())

  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/operator-keys',
      summary: 'All keys, oldest first; never the keys themselves',
      middleware: [forRole(door, 'admin')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(keySchema, 'OperatorKey'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'operator-keys')
      const rows = await centre.db.read((tx) => loadOperatorKeys(tx, centre.mesh, page.after, page.limit + 1))
      return c.json(pageOf(rows, page, 'operator-keys', { key: (row) => row.id, item }), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/operator-keys',
      summary: 'Make a key',
      middleware: [forRole(door, 'admin')] as const,
      request: { headers: idempotencyKey, body: body(newKeySchema) },
      responses: { 201: json(madeSchema, 'The key, shown once'), ...problems },
    }),
    async (c) => {
      const { name, role, expiresAt } = c.req.valid('json')
      const { row, key } = await createOperatorKey(centre, requireRole(c.get('caller'), 'admin'), {
        ...{ name, role, nonce: c.req.valid('header')['idempotency-key'] },
        ...(expiresAt === undefined ? {} : { expiresAt: Date.parse(expiresAt) }),
      })
      return c.json({ ...item(row), key }, 201)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      path: '/v1/operator-keys/{id}',
      summary: 'Revoke a key at once',
      middleware: [forRole(door, 'admin')] as const,
      request: { params: z.object({ id: z.string().max(36) }) },
      responses: { 200: json(keySchema, 'It is revoked'), ...problems },
    }),
    async (c) => {
      const admin = requireRole(c.get('caller'), 'admin')
      return c.json(item(await removeOperatorKey(centre, admin, c.req.valid('param').id)), 200)
    },
  )
}

function keyFrom(row: OperatorKeyRow, now: number): z.infer<typeof keySchema> {
  const expired = row.expiresAt !== null && row.expiresAt <= now
  const reason = row.revokedAt !== null ? 'Revoked' : expired ? 'Expired' : 'Live'
  return {
    id: row.id,
    name: row.name,
    revision: row.revokedAt === null ? 1 : 2,
    createdAt: timeText(row.createdAt),
    conditions: [
      { type: 'Valid', status: reason === 'Live' ? 'True' : 'False', reason, message: reason.toLowerCase() },
    ],
    role: row.role,
    expiresAt: row.expiresAt === null ? null : timeText(row.expiresAt),
    revokedAt: row.revokedAt === null ? null : timeText(row.revokedAt),
  }
}
