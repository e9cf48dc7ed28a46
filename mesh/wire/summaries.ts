import type { Json } from '#mesh/model/canonical.ts'
import type { GatewaySummary, ServiceSummary, Summaries } from '#mesh/model/summary.ts'
import { heardGatewaysSchema, heardSummarySchema } from '#mesh/wire/heard.ts'
import { type StreamName, sourceOf } from '#mesh/wire/stream.ts'

/** Key of the item that lists a source's gateways in each of its `ep` streams; the other keys are service keys. */
export const gatewaysKey = 'gateways'

const parsedServices = new WeakMap<object, ServiceSummary>()
const parsedGateways = new WeakMap<object, GatewaySummary>()

/**
 * The summaries in a relay's `ep` streams, all audiences of a source taken together. An item that is not understood is
 * left out (unknown) and named in `rejected`. An unchanged item gives the same object again, so that a renderer can
 * remember by identity.
 */
export function parseSummaries(streams: Iterable<readonly [StreamName, ReadonlyMap<string, Json>]>): {
  readonly summaries: Summaries
  readonly rejected: readonly string[]
} {
  const services = new Map<string, Map<string, ServiceSummary>>()
  const gateways = new Map<string, GatewaySummary>()
  const rejected: string[] = []
  for (const [stream, items] of streams) {
    const source = sourceOf(stream)
    if (source === undefined) continue
    const ofSource = services.get(source) ?? new Map<string, ServiceSummary>()
    services.set(source, ofSource)
    for (const [key, body] of items) {
      if (typeof body !== 'object' || body === null) rejected.push(`${stream} ${key}`)
      else if (key === gatewaysKey) keep(gateways, source, remembered(parsedGateways, body, heardGatewaysSchema))
      else keep(ofSource, key, remembered(parsedServices, body, heardSummarySchema))
    }
  }
  return { summaries: { services, gateways }, rejected }

  function keep<T>(into: Map<string, T>, key: string, value: T | undefined): void {
    if (value === undefined) rejected.push(key)
    else into.set(key, value)
  }
}

function remembered<T>(
  memo: WeakMap<object, T>,
  body: object,
  schema: { safeParse(value: unknown): { success: boolean; data?: unknown } },
): T | undefined {
  const known = memo.get(body)
  if (known) return known
  const result = schema.safeParse(body)
  if (!result.success) return undefined
  const value = result.data as T
  memo.set(body, value)
  return value
}
