import { ZodError } from 'zod'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { SetAside } from '#mesh/model/fleet.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import type { ServiceSummary } from '#mesh/model/summary.ts'
import { heardSummarySchema } from '#mesh/wire/heard.ts'
import { exportSchema, gatewaySummarySchema, parseReportKey, type ReportItem } from '#mesh/wire/report.ts'

/** What one member reports. */
export type Report = {
  readonly exports: ReadonlyMap<ServiceKey, ServiceExport>
  readonly refused: ReadonlySet<ServiceKey>
  readonly summaries: ReadonlyMap<ServiceKey, ServiceSummary>
  readonly gateways: readonly Gateway[]
  /** Items that this version does not understand: they count as never said, whatever else was said stands. */
  readonly setAside: readonly SetAside[]
}

/**
 * The stored items of one member's report; `kinds` = only these. Never throws: one cluster's item, stored by another
 * version of the centre, must not end publishing for all. Items without a body were refused when they came, and nothing
 * good was known before.
 */
export function parseReport(
  items: readonly { readonly key: string; readonly body: string }[],
  kinds?: readonly ReportItem['kind'][],
): Report {
  const exports = new Map<ServiceKey, ServiceExport>()
  const summaries = new Map<ServiceKey, ServiceSummary>()
  const refused = new Set<ServiceKey>()
  const setAside: SetAside[] = []
  let gateways: readonly Gateway[] = []
  for (const { key: text, body } of items) {
    const item = parseReportKey(text)
    if (!item || body === '' || kinds?.includes(item.kind) === false) continue
    try {
      const value: unknown = JSON.parse(body)
      if (item.kind === 'gateways') gateways = gatewaySummarySchema.parse(value).gateways
      const key = item.service
      if (key === undefined) continue
      if (item.kind === 'refuse') refused.add(key)
      if (item.kind === 'summary') summaries.set(key, parseSummary(value))
      if (item.kind === 'export') exports.set(key, parseExport(key, value))
    } catch (error) {
      setAside.push({ key: text, reason: reasonOf(error).slice(0, 500) })
    }
  }
  return { exports, refused, summaries, gateways, setAside }
}

function reasonOf(error: unknown): string {
  const issue = error instanceof ZodError ? error.issues[0] : undefined
  if (issue) return `${issue.path.join('.')}: ${issue.message}`
  return error instanceof Error ? error.message : String(error)
}

function parseExport(key: ServiceKey, value: unknown): ServiceExport {
  const { consumers, ...rest } = exportSchema.parse(value)
  return { key, ...rest, ...(consumers === undefined ? {} : { consumers }) }
}

const parseSummary = (value: unknown): ServiceSummary => heardSummarySchema.parse(value)
