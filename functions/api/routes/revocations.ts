import { createRoute, z } from '@hono/zod-openapi'
import { loadRevocation, loadRevocations, type RevocationRow } from '#control/store/revocations.ts'
import { loadRelayTrust, type MemberTrust } from '#control/trust/facts.ts'
import { revoke, undoRevocation } from '#control/trust/revoke.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { idempotencyKey } from '#functions/api/idempotency.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { body, json, listOf, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'

const kind = z.enum(['cluster', 'issuer', 'workload'])
const reason = z.string().min(1).max(500)
const ms = z.number().int()
export const revocationSchema = z
  .object({
    cut: z.number().int().openapi({ description: 'its number: the higher, the later' }),
    kind: z.enum([...kind.options, 'foreign']).openapi({ description: 'foreign: a trust domain of another mesh' }),
    subject: z.string(),
    cluster: z.string(),
    trustDomain: z.string(),
    at: z.string(),
    by: z.string(),
    reason: z.string(),
    relays: z.array(z.object({ cluster: z.string(), newMs: ms.nullable(), oldMs: ms.nullable() })).openapi({
      description: 'how long each relay took to refuse new handshakes, and to see the old connections closed',
    }),
    newMsMax: ms.nullable().openapi({ description: 'null until every relay has said it' }),
    oldMsMax: ms.nullable(),
    undoneAt: z.string().nullable(),
  })
  .openapi('Revocation')
const askedSchema = z
  .object({
    kind,
    subject: z.string().min(1).max(300).openapi({ description: "a cluster's name, or a SPIFFE id" }),
    reason,
  })
  .openapi('RevocationSpec')
const params = z.object({ cut: z.coerce.number().int().min(1).max(9_999_999_999) })

/** Revocations: who is shut out of the mesh, since when, and how fast each relay did it. */
export function revocationRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['trust'], security: operatorSecurity }
  const relays = () => centre.db.read((tx) => loadRelayTrust(tx, centre.mesh, centre.now()))
  const shown = async (row: RevocationRow) => revocationFrom(row, await relays())
  const answer = json(revocationSchema, 'The revocation')

  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/revocations',
      summary: 'Shut a cluster, its issuing CA or one workload out of the mesh',
      middleware: [forRole(door, 'admin')] as const,
      request: { headers: idempotencyKey, body: body(askedSchema) },
      responses: { 201: answer, ...problems },
    }),
    async (c) => {
      const nonce = c.req.valid('header')['idempotency-key']
      return c.json(await shown(await revoke(centre, c.get('caller'), { ...c.req.valid('json'), nonce })), 201)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/revocations',
      summary: 'Revocations, newest first, those that were taken back too',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(revocationSchema, 'Revocation'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'revocations')
      const rows = (await centre.db.read((tx) => loadRevocations(tx, centre.mesh))).toReversed()
      const left = page.after === '' ? rows : rows.filter((row) => row.cut < Number(page.after))
      const seen = await relays()
      const shape = {
        key: (row: RevocationRow) => String(row.cut),
        item: (row: RevocationRow) => revocationFrom(row, seen),
      }
      return c.json(pageOf(left.slice(0, page.limit + 1), page, 'revocations', shape), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/revocations/{cut}',
      summary: 'One revocation',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params },
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const { cut } = c.req.valid('param')
      const row = await centre.db.read((tx) => loadRevocation(tx, centre.mesh, cut))
      if (!row) throw new Problem('not-found', `there is no revocation ${cut}: list them with GET /v1/revocations`)
      return c.json(await shown(row), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/revocations/{cut}/undo',
      summary: 'Take a revocation back, where that is safe: not of an issuer',
      middleware: [forRole(door, 'admin')] as const,
      request: { params, body: body(z.object({ reason }).openapi('RevocationUndo')) },
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const asked = { cut: c.req.valid('param').cut, reason: c.req.valid('json').reason }
      return c.json(await shown(await undoRevocation(centre, c.get('caller'), asked)), 200)
    },
  )
}

export function revocationFrom(row: RevocationRow, members: readonly MemberTrust[]): z.infer<typeof revocationSchema> {
  const relays = members.map(({ cluster, said }) => {
    const cut = said?.cuts.find((one) => one.cut === row.cut)
    return { cluster, newMs: cut?.newMs ?? null, oldMs: cut?.oldMs ?? null }
  })
  const { cut, kind, subject, cluster, trustDomain, by, reason } = row
  return {
    ...{ cut, kind, subject, cluster, trustDomain, by, reason, relays },
    at: timeText(row.at),
    newMsMax: slowest(relays.map(({ newMs }) => newMs)),
    oldMsMax: slowest(relays.map(({ oldMs }) => oldMs)),
    undoneAt: row.undoneAt === null ? null : timeText(row.undoneAt),
  }
}

/** Null where somebody has not said it. */
const slowest = (all: readonly (number | null)[]): number | null =>
  all.length === 0 || all.includes(null) ? null : Math.max(...all.map((one) => one ?? 0))
