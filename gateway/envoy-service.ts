import { type ServiceKey, serviceKey } from '#mesh/model/id.ts'

const namesMax = 20_000
const services = new Map<string, ServiceKey | undefined>()

/**
 * The service that an Envoy cluster of ours is for: `outbound|9080||reviews.shop.svc.cluster.local`, one of its clusters or
 * pods (`….svc.clusterset.local`), or at a gateway its SNI. Undefined for any other.
 */
export function serviceOf(name: string): ServiceKey | undefined {
  if (services.has(name)) return services.get(name)
  const host = /^outbound(?:\|\d+\|[^|]*\||_\.\d+_\.[^_]*_\.)(.+)\.svc\.cluster(?:set)?\.local$/.exec(name)?.[1] ?? ''
  const [service = '', namespace = ''] = host.split('.').slice(-2)
  let found: ServiceKey | undefined
  try {
    found = serviceKey(namespace, service)
  } catch {
    // None of ours.
  }
  if (services.size >= namesMax) services.clear()
  services.set(name, found)
  return found
}
