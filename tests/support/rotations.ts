import { z } from 'zod'
import type { Fleet } from '#tests/support/fleet.ts'
import { eventually } from '#tests/support/until.ts'

export const steps = ['prepared', 'published', 'active', 'tainted', 'revoked'] as const
export type Step = (typeof steps)[number]

const schema = z.object({
  id: z.string(),
  kind: z.string(),
  step: z.enum(steps),
  state: z.enum(['running', 'done', 'aborted']),
  waitsFor: z.array(z.object({ cluster: z.string(), what: z.string(), detail: z.string() })),
})
export type RotationSeen = z.infer<typeof schema>

/** What is rotated: an authority of the mesh, or the issuing CA of one cluster. */
export type Subject = { readonly kind: 'root' | 'control-plane' | 'issuing'; readonly cluster?: string }

/** Begins one, over the operator's API. */
export const beginRotation = async (fleet: Fleet, subject: Subject): Promise<RotationSeen> =>
  schema.parse(await fleet.centre.call('POST', '/v1/rotations', { ...subject, reason: 'a test' }))

export const rotationOf = async (fleet: Fleet, id: string): Promise<RotationSeen> =>
  schema.parse(await fleet.centre.call('GET', `/v1/rotations/${id}`))

export const forceOn = async (fleet: Fleet, id: string): Promise<RotationSeen> =>
  schema.parse(await fleet.centre.call('POST', `/v1/rotations/${id}/continue`, { force: { reason: 'a test' } }))

/** Resolves when it is in the step or past it; says by whom it is kept waiting where it does not get there. */
export const untilStep = (fleet: Fleet, id: string, step: Step, ms: number): Promise<RotationSeen> =>
  untilSeen(fleet, id, `it is ${step}`, ms, (seen) => steps.indexOf(seen.step) >= steps.indexOf(step))

export const untilDone = (fleet: Fleet, id: string, ms: number): Promise<RotationSeen> =>
  untilSeen(fleet, id, 'it is done', ms, ({ state }) => state === 'done')

function untilSeen(fleet: Fleet, id: string, what: string, ms: number, isSo: (seen: RotationSeen) => boolean) {
  return eventually(ms, `rotation: ${what}`, async () => {
    const seen = await rotationOf(fleet, id)
    if (isSo(seen)) return seen
    const waits = seen.waitsFor.map(({ cluster, what, detail }) => `${cluster} ${what} ${detail}`.trim())
    throw new Error(`it is ${seen.state}, ${seen.step}, and waits for ${waits.join('; ') || 'nobody'}`)
  })
}
