import { z } from 'zod'
import type { Json } from '#mesh/model/canonical.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import { type Advice, type DrainAdvice, type Freeze, type LostExporter, noAdvice } from '#mesh/model/traffic.ts'

/** The items of stream `adv/<mesh>`: read by every relay of the mesh, so they name nothing that is not known to all. */
export const adviceKeys = {
  drain: (id: string): string => `drain/${id}`,
  freeze: 'freeze',
  lost: (cluster: string): string => `lost/${cluster}`,
} as const

const cluster = z.string().transform(parseClusterName)
const ms = z.number().int().min(0)

/** Unknown fields are let through: a later centre says more. */
const drainSchema = z.object({
  kind: z.enum(['cluster', 'gateway']),
  cluster,
  gateway: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  percent: z.number().int().min(0).max(100),
  phase: z.enum(['ramping', 'closing', 'proving', 'done']),
})
const freezeSchema = z.object({ by: z.string().max(253), reason: z.string().max(1000), at: ms })
const lostSchema = z.object({ since: ms, until: ms })

/**
 * Throws nothing: what is not understood is in `unread` by its key, and the rest counts. Unknown is not empty: of a drain
 * that was understood `before` that stays, or its cluster would be given everything back by one word of a later centre;
 * and a freeze is one, whatever is said of it.
 */
export function parseAdvice(
  items: ReadonlyMap<string, Json>,
  before: Advice = noAdvice,
): {
  readonly advice: Advice
  readonly unread: readonly string[]
} {
  const drains: DrainAdvice[] = []
  const lost: LostExporter[] = []
  const unread: string[] = []
  let frozen: Freeze | undefined
  for (const [key, body] of items) {
    const { kind, rest } = partsOf(key)
    try {
      if (kind === 'drain') drains.push(drainOf(rest, body))
      else if (key === adviceKeys.freeze) frozen = freezeSchema.parse(body)
      else if (kind === 'lost') lost.push({ cluster: parseClusterName(rest), ...lostSchema.parse(body) })
      else unread.push(key)
    } catch {
      unread.push(key)
      if (kind === 'drain') drains.push(...before.drains.filter(({ id }) => id === rest))
      if (key === adviceKeys.freeze) frozen = before.frozen ?? unreadFreeze
    }
  }
  return { advice: { drains, lost, ...(frozen ? { frozen } : {}) }, unread }
}

const unreadFreeze: Freeze = { by: 'the centre', reason: 'what it says of it is not understood here', at: 0 }

/** A list of them as it is stored. Throws where it is none. */
export const parseLost = (text: string): readonly LostExporter[] =>
  z.array(z.object({ cluster, ...lostSchema.shape })).parse(JSON.parse(text))

/** How a drain is written as an item. */
export const drainItem = ({ id: _, ...drain }: DrainAdvice): Json => ({ ...drain })

function drainOf(id: string, body: Json): DrainAdvice {
  const { gateway, ...drain } = drainSchema.parse(body)
  if ((drain.kind === 'gateway') !== (gateway !== undefined)) throw new Error('a gateway by its digest, or none')
  return { id, ...drain, ...(gateway === undefined ? {} : { gateway }) }
}

function partsOf(key: string): { readonly kind: string; readonly rest: string } {
  const at = key.indexOf('/')
  return at < 0 ? { kind: key, rest: '' } : { kind: key.slice(0, at), rest: key.slice(at + 1) }
}
