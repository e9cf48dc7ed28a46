import { createRoute, z } from '@hono/zod-openapi'
import { requireRole } from '#control/caller.ts'
import type { Centre } from '#control/centre.ts'
import { parseKeyWish } from '#control/keys/open-signer.ts'
import { loadRotations, type RotationRow } from '#control/store/rotations.ts'
import type { AuthorityWish } from '#control/trust/make-authority.ts'
import { abortRotation, continueRotation, knownRotation, startRotation, stepRotations } from '#control/trust/rotate.ts'
import { startIssuingRotation } from '#control/trust/rotate-issuing.ts'
import { rehearseRotation, type ShownRotation, showRotation } from '#control/trust/show-rotation.ts'
import { forRole } from '#functions/api/authorise.ts'
import type { Api, Door } from '#functions/api/door.ts'
import { idempotencyKey } from '#functions/api/idempotency.ts'
import { pageFrom, pageOf, pageQuerySchema } from '#functions/api/page.ts'
import { body, json, listOf, operatorSecurity, problems, timeText } from '#functions/api/schemas.ts'
import { Problem } from '#mesh/model/problem.ts'

const missingSchema = z.object({ cluster: z.string(), what: z.string(), detail: z.string() }).openapi('RotationWait')
const partySchema = z
  .object({ id: z.string(), number: z.number().int().nullable(), sha256: z.string().nullable() })
  .openapi('RotationParty')
export const rotationSchema = z
  .object({
    id: z.string(),
    kind: z.enum(['root', 'control-plane', 'issuing']),
    cluster: z.string().optional().openapi({ description: 'of kind `issuing`: whose' }),
    step: z.enum(['prepared', 'published', 'active', 'tainted', 'revoked', 'aborted']),
    state: z.enum(['running', 'done', 'aborted']),
    from: partySchema.nullable(),
    to: partySchema.nullable(),
    startedAt: z.string(),
    stepAt: z.string(),
    by: z.string(),
    reason: z.string(),
    waitsFor: z.array(missingSchema),
    progress: z.object({ done: z.number().int(), of: z.number().int() }).openapi({ description: 'clusters' }),
    forced: z.array(
      z.object({
        ...{ step: z.string(), reason: z.string(), by: z.string(), at: z.string() },
        missing: z.array(missingSchema),
      }),
    ),
    steps: z
      .array(z.object({ step: z.string(), waitsFor: z.array(missingSchema) }))
      .optional()
      .openapi({ description: 'of a rehearsal: the steps, and what each would wait for now' }),
  })
  .openapi('Rotation')

const reason = z.string().min(1).max(500)
const askedSchema = z
  .object({
    kind: z.enum(['root', 'control-plane', 'issuing']),
    cluster: z.string().max(63).optional().openapi({ description: 'of kind `issuing`: whose' }),
    where: z.string().max(300).optional().openapi({
      description:
        '`file` (default), `kms:<key ARN>`, or `plugged`: the CA that the centre was started with (`--root-ca`)',
    }),
    curve: z.enum(['P-256', 'P-384']).optional(),
    reason: z.string().max(500).optional(),
    dryRun: z.boolean().optional(),
  })
  .openapi('RotationSpec')

const params = z.object({ id: z.string().max(64) })

/** Rotations of the mesh's authorities and of clusters' issuing CAs. */
export function rotationRoutes(api: Api, door: Door): void {
  const { centre } = door
  const shared = { tags: ['trust'], security: operatorSecurity }
  const here = () => ({ door: door.authority() })
  const shown = async (row: RotationRow) => rotationFrom(await showRotation(centre, row, here()))
  const answer = json(rotationSchema, 'The rotation')

  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/rotations',
      summary:
        'Rotate the root, the control-plane CA or the issuing CA of a cluster; with `dryRun` only say how it would go',
      middleware: [forRole(door, 'admin')] as const,
      request: { headers: idempotencyKey, body: body(askedSchema) },
      responses: { 200: json(rotationSchema, 'How it would go'), 201: answer, ...problems },
    }),
    async (c) => {
      const asked = c.req.valid('json')
      const nonce = c.req.valid('header')['idempotency-key']
      const { kind, cluster, reason } = asked
      if (kind === 'issuing') {
        if (cluster === undefined) throw missing('cluster', 'name the cluster whose issuing CA is rotated')
        if (asked.dryRun) return c.json(rotationFrom(await rehearseRotation(centre, { kind, cluster })), 200)
        const row = await startIssuingRotation(centre, c.get('caller'), { cluster, reason, nonce })
        return c.json(await shown(row), 201)
      }
      if (cluster !== undefined) throw missing('cluster', `is only of kind issuing: a ${kind} is of the whole mesh`)
      if (asked.dryRun) return c.json(rotationFrom(await rehearseRotation(centre, { kind })), 200)
      const wish = wishFrom(asked)
      const row = await startRotation(centre, c.get('caller'), { kind, wish, reason, nonce })
      await stepRotations(centre, here()).catch((err: unknown) =>
        centre.log.warn({ err }, 'a rotation was begun, and its first step failed; it is tried again'),
      )
      return c.json(await shown(await reread(centre, row)), 201)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/rotations',
      summary: 'Rotations, newest first, with what each waits for',
      middleware: [forRole(door, 'viewer')] as const,
      request: { query: pageQuerySchema },
      responses: { 200: json(listOf(rotationSchema, 'Rotation'), 'One page'), ...problems },
    }),
    async (c) => {
      const page = pageFrom(c.req.valid('query'), 'rotations')
      const rows = await centre.db.read((tx) => loadRotations(tx, centre.mesh, page.after, page.limit + 1))
      const items = new Map<string, z.infer<typeof rotationSchema>>()
      for (const row of rows.slice(0, page.limit)) items.set(row.id, await shown(row))
      const shape = { key: (row: RotationRow) => row.id, item: (row: RotationRow) => items.get(row.id) }
      return c.json(pageOf(rows, page, 'rotations', shape) as never, 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: '/v1/rotations/{id}',
      summary: 'One rotation',
      middleware: [forRole(door, 'viewer')] as const,
      request: { params },
      responses: { 200: answer, ...problems },
    }),
    async (c) => c.json(await shown(await reread(centre, c.req.valid('param'))), 200),
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/rotations/{id}/continue',
      summary: 'Try the next step now; with `force` make it whatever is missing, which is kept and audited',
      middleware: [forRole(door, 'admin')] as const,
      request: { params, body: body(z.object({ force: z.object({ reason }).optional() }).openapi('RotationContinue')) },
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const caller = requireRole(c.get('caller'), 'admin')
      const asked = { id: c.req.valid('param').id, force: c.req.valid('json').force, here: here() }
      return c.json(await shown(await continueRotation(centre, caller, asked)), 200)
    },
  )
  api.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: '/v1/rotations/{id}/abort',
      summary: 'End a rotation whose new authority has signed nothing yet',
      middleware: [forRole(door, 'admin')] as const,
      request: { params, body: body(z.object({ reason }).openapi('RotationAbort')) },
      responses: { 200: answer, ...problems },
    }),
    async (c) => {
      const asked = { id: c.req.valid('param').id, reason: c.req.valid('json').reason }
      return c.json(await shown(await abortRotation(centre, c.get('caller'), asked)), 200)
    },
  )
}

const reread = (centre: Centre, { id }: { readonly id: string }): Promise<RotationRow> =>
  centre.db.read((tx) => knownRotation(tx, centre.mesh, id))

/** The key to be made, the one that is with KMS already, or the CA that is brought along. Throws `invalid`. */
function wishFrom({ where, curve }: { where?: string | undefined; curve?: string | undefined }): AuthorityWish {
  if (where !== 'plugged') return parseKeyWish({ where, curve })
  if (curve !== undefined) throw missing('curve', 'is that of the CA that is brought along')
  return { where }
}

const missing = (path: string, reason: string): Problem =>
  new Problem('invalid', `${path}: ${reason}`, { violations: [{ path, reason }] })

export const rotationFrom = (one: ShownRotation): z.infer<typeof rotationSchema> => ({
  ...one,
  waitsFor: one.waitsFor.map((wait) => ({ ...wait })),
  startedAt: timeText(one.startedAt),
  stepAt: timeText(one.stepAt),
  forced: one.forced.map((f) => ({ ...f, at: timeText(f.at), missing: [...f.missing] })),
  steps: one.steps?.map(({ step, waitsFor }) => ({ step, waitsFor: [...waitsFor] })),
})
