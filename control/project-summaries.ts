import { hasAddresses } from '#control/first-heard.ts'
import type { Told } from '#control/store/report-state.ts'
import type { Write } from '#control/store/stream-writes.ts'
import type { StreamRow } from '#control/store/streams.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { parseReportKey } from '#mesh/wire/report.ts'

/**
 * The services that a report is about, where it is what nearly all reports are: new counts, and nothing else. None where
 * it is anything else: an export or the gateways, what goes or was refused, a summary that names pod addresses.
 */
export function countedServices(writes: readonly Write[]): ServiceKey[] {
  const services: ServiceKey[] = []
  for (const write of writes) {
    const item = parseReportKey(write.key)
    if (item?.kind !== 'summary' || item.service === undefined || write.body === '' || hasAddresses(write)) return []
    services.push(item.service)
  }
  return services
}

/**
 * The short way of `projectCluster` for new counts of services that everybody may read and has read before: what the
 * stream for everybody is to hold. Who may read them was decided when they came into that stream, so exports, members and
 * the operator's lists are not read again.
 *
 * Undefined where that does not do: a service is not in that stream, or the outbox has work, which may be another word on
 * who reads.
 */
export function projectSummaries(
  { stream, items, asked }: Told,
  writes: readonly Write[],
): { readonly stream: StreamRow; readonly writes: readonly Write[] } | undefined {
  if (!stream || asked) return undefined
  const live = new Set(items.filter(({ gone }) => !gone).map(({ key }) => key))
  const projected: Write[] = []
  for (const { key, body } of writes) {
    const service = parseReportKey(key)?.service
    if (service === undefined || !live.has(service)) return undefined
    projected.push({ key: service, hash: sha256Hex(body), body })
  }
  return { stream, writes: projected }
}
