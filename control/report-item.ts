import type { Write } from '#control/store/stream-writes.ts'
import { canonicalJson, type Json, sha256Hex } from '#mesh/model/canonical.ts'
import { gatewayAddressFault } from '#mesh/model/gateway-address.ts'
import { labelFault } from '#mesh/model/id.ts'
import {
  clusterFactsSchema,
  exportSchema,
  gatewaySummarySchema,
  parseReportKey,
  type ReportItem,
  refusalSchema,
  reportLimits,
  serviceSummarySchema,
} from '#mesh/wire/report.ts'

/** One reported item as it is stored, and why it is refused where it is. */
export type CheckedItem = { readonly write: Write; readonly item?: ReportItem; readonly reason?: string }

const schemas = {
  cluster: clusterFactsSchema,
  gateways: gatewaySummarySchema,
  export: exportSchema,
  summary: serviceSummarySchema,
  refuse: refusalSchema,
} as const

/**
 * Checks one item of a report by the schema of its key. Every item keeps the hash of what the relay said, so that both
 * ends compute the same root whatever is refused; only a good one has a body (without fields unknown to this version).
 * A key of no known shape is a newer relay's: kept out of everything and not an error.
 */
export function checkItem(key: string, value: Record<string, unknown> | null, srcEpoch: string): CheckedItem {
  const item = parseReportKey(key)
  if (value === null) return { write: { key, hash: '', body: '', srcEpoch }, ...(item ? { item } : {}) }
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
  const fault = item.kind === 'cluster' ? labelFault(clusterFactsSchema.parse(value).network) : undefined
  if (fault !== undefined) return { write: refused, item, reason: `network: ${fault}` }
  const astray = item.kind === 'gateways' ? addressFault(value) : undefined
  if (astray !== undefined) return { write: refused, item, reason: `gateways: ${astray}` }
  return { write: { ...refused, body: canonicalJson(result.data as Json) }, item }
}

/** One spelling for each address, or whose it is could not be told; and none that leads elsewhere in every cluster. */
function addressFault(value: unknown): string | undefined {
  for (const { address } of gatewaySummarySchema.parse(value).gateways) {
    const fault = gatewayAddressFault(address)
    if (fault !== undefined) return `"${address.slice(0, 80)}" ${fault}`
  }
  return undefined
}
