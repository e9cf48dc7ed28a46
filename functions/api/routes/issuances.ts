import { createRoute, z } from '@hono/zod-openapi'
import { type IssuanceRow, loadIssuances } from '#control/store/issuances.ts'
import { loadRelayTrust } from '#control/trust/facts.ts'
import { verifyIssuances } from '#control/trust/issuances.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { json, listOf, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'

const issuanceSchema = z
  .object({
    ...{ seq: z.number().int(), at: z.string(), kind: z.string(), prev: z.string(), hash: z.string() },
    ...{ serial: z.string().optional(), keySha256: z.string().optional(), requester: z.string().optional() },
    ...{ cluster: z.string().optional(), trustDomain: z.string().optional(), authority: z.string().optional() },
    ...{ notBefore: z.string().optional(), notAfter: z.string().optional() },
    body: z.string().openapi({ description: 'what the hash covers, after `prev` and a line feed' }),
  })
  .openapi('Issuance')
const checkSchema = z
  .object({
    checked: z.number().int(),
    head: z.object({ seq: z.number().int(), hash: z.string() }),
    brokenAt: z.number().int().optional().openapi({ description: 'the first entry that is not what was written' }),
    relays: z
      .array(z.object({ cluster: z.string(), seq: z.number().int(), hash: z.string() }))
      .openapi({ description: "the heads of the relays' own logs, as they last said" }),
  })
  .openapi('IssuanceCheck')

/** The log of everything that the centre has signed. */
export function issuanceRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['trust'], security: operatorSecurity }
  const query = z.object({
    after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
    limit: z.coerce.number().int().min(1).max(500).optional(),
    cursor: z.string().max(40).optional().openapi({ description: '`nextCursor` of the page before' }),
  })
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      middleware: [forRole(door, 'viewer')] as const,
      path: '/v1/issuances',
      summary: 'Every certificate that the centre has signed, oldest first, after a number',
      request: { query },
      responses: { 200: json(listOf(issuanceSchema, 'Issuance'), 'One page'), ...problems },
    }),
    async (c) => {
      const { after = 0, limit = 100, cursor } = c.req.valid('query')
      const from = /^\d{1,15}$/.test(cursor ?? '') ? Number(cursor) : after
      const rows = await centre.db.read((tx) => loadIssuances(tx, centre.mesh, from, limit + 1))
      const shown = rows.slice(0, limit)
      const next = rows.length > limit ? { nextCursor: String(shown.at(-1)?.seq ?? 0) } : {}
      return c.json({ items: shown.map(itemFrom), ...next }, 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      middleware: [forRole(door, 'viewer')] as const,
      path: '/v1/issuances/check',
      summary: 'Compute the hash of every entry anew and say whether the log is whole',
      responses: { 200: json(checkSchema, 'The check'), ...problems },
    }),
    async (c) => {
      const check = await verifyIssuances(centre.db, centre.mesh)
      const members = await centre.db.read((tx) => loadRelayTrust(tx, centre.mesh, centre.now()))
      const relays = members.flatMap(({ cluster, said }) => (said ? [{ cluster, ...said.log }] : []))
      return c.json({ ...check, relays }, 200)
    },
  )
}

type Said = { readonly kind: string; readonly notBefore?: number; readonly notAfter?: number } & Record<string, unknown>

function itemFrom({ seq, at, prev, hash, body }: IssuanceRow): z.infer<typeof issuanceSchema> {
  const { notBefore, notAfter, ...said } = JSON.parse(body) as Said
  const life = {
    ...(notBefore === undefined ? {} : { notBefore: timeText(notBefore) }),
    ...(notAfter === undefined ? {} : { notAfter: timeText(notAfter) }),
  }
  const { kind, serial, keySha256, requester, cluster, trustDomain, authority } = said
  const text = { serial, keySha256, requester, cluster, trustDomain, authority }
  const known = Object.fromEntries(
    Object.entries(text).flatMap(([name, v]) => (typeof v === 'string' ? [[name, v]] : [])),
  )
  return { seq, at: timeText(at), kind, prev, hash, ...known, ...life, body }
}
