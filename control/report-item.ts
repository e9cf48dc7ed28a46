import type { Write } from '#control/store/stream-writes.ts'
import { canonicalJson, hashOf, type Json, jsonFault, sha256Hex, textFault } from '#mesh/model/canonical.ts'
import { gatewayAddressFault } from '#mesh/model/gateway-address.ts'
import { labelFault } from '#mesh/model/id.ts'
import {
  clusterFactsSchema,
  exportSchema,
  gatewaySummarySchema,
  objectSaidSchema,
  parseReportKey,
  type ReportItem,
  refusalSchema,
  reportLimits,
  serviceSummarySchema,
  unreadSchema,
} from '#mesh/wire/report.ts'
import { trustReportSchema } from '#mesh/wire/trust-report.ts'

/** One reported item as it is stored, and why it is refused where it is. `unkept`: the store has no room for such a key. */
export type CheckedItem = {
  readonly write: Write
  readonly item?: ReportItem
  readonly reason?: string
  readonly unkept?: true
}

const schemas = {
  cluster: clusterFactsSchema,
  gateways: gatewaySummarySchema,
  export: exportSchema,
  summary: serviceSummarySchema,
  refuse: refusalSchema,
  trust: trustReportSchema,
  policy: objectSaidSchema,
  group: objectSaidSchema,
  unread: unreadSchema,
} as const

/**
 * Checks one item of a report by the schema of its key. Every item keeps the hash of what the relay said, so that both
 * ends compute the same root whatever is refused; only a good one has a body (without fields unknown to this version).
 * A key of no known shape is a newer relay's: kept out of everything and not an error. A key that is no text, and a value
 * too deep to be hashed, are refused as well; the roots differ then for as long as the relay says them.
 */
export function checkItem(key: string, value: Record<string, unknown> | null, srcEpoch: string): CheckedItem {
  const odd = textFault(key)
  if (odd !== undefined) return { write: { key, hash: '', body: '', srcEpoch }, reason: `its key ${odd}`, unkept: true }
  const item = parseReportKey(key)
  if (value === null) return { write: { key, hash: '', body: '', srcEpoch }, ...(item ? { item } : {}) }
  const fault = jsonFault(value)
  if (fault) {
    const write = { key, hash: hashOfAny(value as Json), body: '', srcEpoch }
    return { write, ...(item ? { item } : {}), reason: `${fault.path}: ${fault.reason}` }
  }
  const said = canonicalJson(value as Json)
  const refused: Write = { key, hash: sha256Hex(said), body: '', srcEpoch }
  if (!item) return { write: refused }
  const bytes = Buffer.byteLength(said)
  if (bytes > reportLimits.valueBytes)
    return { write: refused, item, reason: `has ${bytes} bytes; at most ${reportLimits.valueBytes}` }
  const result = schemas[item.kind].safeParse(value)
  if (!result.success) {
    const issue = result.error.issues[0]
    return { write: refused, item, reason: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not understood'}` }
  }
  const misnamed = item.kind === 'cluster' ? labelFault(clusterFactsSchema.parse(value).network) : undefined
  if (misnamed !== undefined) return { write: refused, item, reason: `network: ${misnamed}` }
  const astray = item.kind === 'gateways' ? addressFault(value) : undefined
  if (astray !== undefined) return { write: refused, item, reason: `gateways: ${astray}` }
  return { write: { ...refused, body: canonicalJson(result.data as Json) }, item }
}

function hashOfAny(value: Json): string {
  try {
    return hashOf(value)
  } catch {
    return sha256Hex('')
  }
}

/** One spelling for each address, or whose it is could not be told; and none that leads elsewhere in every cluster. */
function addressFault(value: unknown): string | undefined {
  for (const { address } of gatewaySummarySchema.parse(value).gateways) {
    const fault = gatewayAddressFault(address)
    if (fault !== undefined) return `"${address.slice(0, 80)}" ${fault}`
  }
  return undefined
}
