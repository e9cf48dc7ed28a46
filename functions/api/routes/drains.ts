import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import { type DrainRow, loadDrains } from '#control/store/drains.ts'
import { knownDrain, rehearseDrain, startDrain, undoDrain } from '#control/traffic/drain.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { idempotencyKey } from '#functions/api/idempotency.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { dryRunSchema } from '#functions/api/rehearsal.ts'
import { body, json, listOf, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { drainKinds, drainSubjectText, rampOf } from '#mesh/model/drain.ts'

const states = ['ramping', 'closing', 'proving', 'done', 'stopped', 'returning', 'undone'] as const
const reason = z.string().max(500)
const drainSchema = z
  .object({
    id: z.string(),
    kind: z.enum(drainKinds),
    subject: z.string(),
    state: z.enum(states),
    percent: z.number().int().openapi({ description: 'of its nominal share' }),
    overSeconds: z.number(),
    graceSeconds: z.number(),
    startedAt: z.string().openapi({ format: 'date-time' }),
    stepAt: z.string().openapi({ format: 'date-time' }),
    by: z.string(),
    reason: z.string(),
    why: z.string().openapi({ description: 'what it waits for, or why it stands so' }),
    proof: z.string().openapi({ description: 'the numbers that proved it empty; empty until then' }),
    revision: z.number().int(),
    warnings: z.array(z.string()).optional().openapi({ description: 'at the start: what its author should know' }),
  })
  .openapi('Drain')

const askedSchema = z
  .object({
    kind: z.enum(drainKinds),
    subject: z
      .string()
      .min(1)
      .max(300)
      .openapi({ description: '<cluster>, <cluster>/<address>:<port>, or <cluster>/<namespace>/<service>' }),
    overSeconds: z.number().min(0).max(86_400).optional().openapi({ description: 'how long the ramp takes; 60' }),
    graceSeconds: z
      .number()
      .min(0)
      .max(86_400)
      .optional()
      .openapi({ description: 'how long what is open then may live on; 60' }),
    force: z.boolean().optional().openapi({ description: 'also where those that are left declare too little' }),
    reason: reason.optional(),
  })
  .refine((asked) => asked.force !== true || (asked.reason ?? '') !== '', {
    ...{ path: ['reason'], message: 'is missing: with force it says why it is forced' },
  })
  .openapi('DrainSpec')
const rehearsedSchema = z
  .object({
    ...drainSchema.pick({ kind: true, subject: true, overSeconds: true, graceSeconds: true }).shape,
    steps: z.array(z.number().int()).openapi({ description: 'percents of its nominal share, one after another' }),
    warnings: z.array(z.string()),
  })
  .openapi('RehearsedDrain')
const params = z.object({ id: z.string().max(64) })

/** Drains: what is led out of traffic, how far that is, and back. */
export function drainRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['drains'], security: operatorSecurity }
  const answer = json(drainSchema, 'The drain')

  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/drains',
      summary: 'Lead a cluster, one of its gateways or one of its services out of traffic, or refuse with every reason',
      middleware: [forRole(door, 'operator')] as const,
      request: { headers: idempotencyKey, query: z.object({ dryRun: dryRunSchema }), body: body(askedSchema) },
      responses: {
        200: json(rehearsedSchema, 'With dryRun: how it would go; what would be refused is refused'),
        201: answer,
        ...problems,
      },
    }),
    async (c) => {
      const { overSeconds = 60, graceSeconds = 60, reason = '', ...asked } = c.req.valid('json')
      const nonce = c.req.valid('header')['idempotency-key']
      const times = { overMs: Math.round(overSeconds * 1000), graceMs: Math.round(graceSeconds * 1000) }
      const caller = requireRole(c.get('caller'), 'operator')
      const { kind, subject, force = false } = asked
      const wish = { kind, subject, reason, nonce, force, ...times }
      if (c.req.valid('query').dryRun === 'true') {
        const { subject: meant, warnings } = await rehearseDrain(centre, wish)
        const steps = { steps: [...rampOf(kind)], overSeconds, graceSeconds }
        return c.json({ kind, subject: drainSubjectText(meant), ...steps, warnings: [...warnings] }, 200)
      }
      const { row, warnings } = await startDrain(centre, caller, wish)
      return c.json({ ...drainFrom(row), warnings: [...warnings] }, 201)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/drains',
      summary: 'Drains, newest first, those that were undone too',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(drainSchema, 'Drain'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'drains')
      const rows = await centre.db.read((tx) => loadDrains(tx, centre.mesh, page.after, page.limit + 1))
      return c.json(pageOf(rows, page, 'drains', { key: ({ id }) => id, item: drainFrom }), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/drains/{id}',
      summary: 'One drain',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params },
      responses: { 200: answer, ...problems },
    }),
    async (c) => c.json(drainFrom(await knownDrain(centre, c.req.valid('param').id)), 200),
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/drains/{id}/undo',
      summary: 'Give its share back, whatever state the drain is in',
      middleware: [forRole(door, 'operator')] as const,
      request: { params, body: body(z.object({ reason: reason.optional() }).openapi('DrainUndo')) },
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const asked = { id: c.req.valid('param').id, reason: c.req.valid('json').reason ?? '' }
      return c.json(drainFrom(await undoDrain(centre, requireRole(c.get('caller'), 'operator'), asked)), 200)
    },
  )
}

const drainFrom = (row: DrainRow): z.infer<typeof drainSchema> => {
  const { id, kind, subject, state, percent, by, reason, why, proof, revision } = row
  return {
    ...{ id, kind, subject, state, percent, by, reason, why, proof, revision },
    ...{ overSeconds: row.overMs / 1000, graceSeconds: row.graceMs / 1000 },
    ...{ startedAt: timeText(row.startedAt), stepAt: timeText(row.stepAt) },
  }
}
