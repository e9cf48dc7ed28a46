import { isIP } from 'node:net'
import { z } from 'zod'
import type { Write } from '#control/store/stream-writes.ts'
import { type Address, addressKey } from '#mesh/model/address.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import { heardGatewaysSchema, heardSummarySchema } from '#mesh/wire/heard.ts'
import { parseReportKey } from '#mesh/wire/report.ts'

/**
 * How long an address that a cluster names no more stays its own. A pod that is not ready for a moment is not named for
 * a moment: whoever names it all the while must not have it then.
 */
const rememberedMs = 60 * 60_000
const rememberedMax = 400

/** An address that was named until then, and may come back. Only in the stored item, never handed on. */
const leftSchema = z.array(
  z.object({ address: z.string(), port: z.number(), since: z.number().exactOptional(), until: z.number() }),
)
const storedSummarySchema = heardSummarySchema.extend({ left: leftSchema.exactOptional() })

type Known = Address & { readonly since?: number; readonly until?: number }

/** True where `firstHeard` has to know the item before: pod addresses, and gateways. */
export function hasAddresses({ key, body }: Write): boolean {
  const kind = parseReportKey(key)?.kind
  return kind === 'gateways' ? body !== '' : kind === 'summary' && body.includes('"flat":')
}

/**
 * A checked item with the time at which the centre first heard each of its addresses from this cluster; `before` is the
 * body stored until now. Who was first is read from these times by every relay, so a report never says them itself.
 *
 * A name in place of a gateway's address gets none: where it leads is not said here, and changes without a word. What was
 * stored before such times were kept goes on without one, and so counts from the export's age.
 */
export function firstHeard(write: Write, before: string, now: number): Write {
  if (!hasAddresses(write)) return write
  const said: unknown = JSON.parse(write.body)
  const isGateways = parseReportKey(write.key)?.kind === 'gateways'
  const body = isGateways ? stampedGateways(said, before, now) : stampedSummary(said, before, now)
  return { ...write, body: canonicalJson(body) }
}

function stampedGateways(said: unknown, before: string, now: number): Json {
  const old = heardGatewaysSchema.safeParse(parsed(before)).data?.gateways ?? []
  const stamp = stampBy(mapOf(old), now)
  const { gateways } = heardGatewaysSchema.parse(said)
  return { gateways: gateways.map((one) => (isIP(one.address) === 0 ? one : stamp(one))) }
}

function stampedSummary(said: unknown, before: string, now: number): Json {
  const old = storedSummarySchema.safeParse(parsed(before)).data
  const remembered = (old?.left ?? []).filter(({ until }) => until > now)
  const known = mapOf<Known>([...remembered, ...(old?.flat ?? [])])
  const { flat = [], ...rest } = heardSummarySchema.parse(said)
  const named = new Set(flat.map(addressKey))
  const left = [...known]
    .filter(([key]) => !named.has(key))
    .map(([, { address, port, since, until = now + rememberedMs }]) => ({
      ...{ address, port, until },
      ...(since === undefined ? {} : { since }),
    }))
    .toSorted((a, b) => b.until - a.until)
    .slice(0, rememberedMax)
  return { ...rest, flat: flat.map(stampBy(known, now)), ...(left.length > 0 ? { left } : {}) }
}

const stampBy =
  (known: ReadonlyMap<string, Known>, now: number) =>
  <T extends Known>(one: T): T => {
    const old = known.get(addressKey(one))
    const since = old ? old.since : now
    return since === undefined ? one : { ...one, since }
  }

const mapOf = <T extends Address>(list: readonly T[]): Map<string, T> =>
  new Map(list.map((one) => [addressKey(one), one]))

/** Undefined where nothing is stored, or nothing that can be read: then nothing was heard before. */
function parsed(body: string): unknown {
  try {
    return body === '' ? undefined : JSON.parse(body)
  } catch {
    return undefined
  }
}
