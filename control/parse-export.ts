import type { ServiceExport } from '#mesh/model/export.ts'
import { parseClusterName, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import { exportSchema } from '#mesh/wire/report.ts'

/** An export as its cluster reported it. */
export function parseExport(key: ServiceKey, value: unknown): ServiceExport {
  const { consumers, ...rest } = exportSchema.parse(value)
  return { key, ...rest, ...(consumers === undefined ? {} : { consumers: consumers.map(parseClusterName) }) }
}

/** `<namespace>/<name>` as a key. Throws `invalid`. */
export function parseServiceKey(text: string): ServiceKey {
  const [namespace = '', name = ''] = text.split(/\/(.*)/s)
  return serviceKey(namespace, name)
}
