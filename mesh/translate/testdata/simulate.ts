import type { ResourceSet } from '#mesh/model/resource.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { jsonOf, type PlainJson, resourcesOf } from '#mesh/translate/testdata/golden.ts'

type JsonObject = { [key: string]: PlainJson }

/** Where one call lands: the Envoy cluster, and per tier what each source cluster gets, with the hosts dialled. */
export type Landing = {
  readonly cluster: string
  readonly tiers: readonly (readonly string[])[]
}

/**
 * Follows one call through a rendered set as Envoy does: the listener at `at`, for HTTP the virtual host for `host`
 * (exact, then `*.…`, then `*`), the route for `method`, the Envoy cluster, its endpoints by priority. Gives a direct answer or a
 * dead end as text.
 */
export function simulate(
  set: ResourceSet,
  call: { readonly at: string; readonly host?: string; readonly method?: string },
): Landing | string {
  const listeners = resourcesOf(set, typeUrls.listener).map(jsonOf)
  const listener = listeners.find((l) => addressOf(l['address']) === call.at)
  if (!listener) return `nothing listens at ${call.at}`
  const chain = list(listener['filter_chains'])[0]
  const filter = object(list(object(chain)['filters']).at(-1))
  const config = object(filter['typed_config'])
  if (config['cluster'] !== undefined) return landing(set, String(config['cluster']))
  const name = String(object(config['rds'])['route_config_name'])
  const routes = resourcesOf(set, typeUrls.route)
    .map(jsonOf)
    .find((r) => r['name'] === name)
  if (!routes) return `no routes "${name}"`
  const host = (call.host ?? '').replace(/:\d+$/, '')
  const hosts = list(routes['virtual_hosts']).map(object)
  const wanted = [host, ...host.split('.').map((_, at, all) => ['*', ...all.slice(at + 1)].join('.'))]
  const virtualHost = wanted.flatMap((domain) => hosts.find((v) => list(v['domains']).includes(domain)) ?? [])[0]
  const route = list(object(virtualHost)['routes'])
    .map(object)
    .find((r) => takes(r, call.method ?? 'GET'))
  const direct = object(route?.['direct_response'])
  if (direct['status'] !== undefined) return `answered ${String(direct['status'])}`
  return landing(set, String(object(route?.['route'])['cluster']))
}

function takes(route: JsonObject, method: string): boolean {
  return list(object(route['match'])['headers']).every((header) => {
    const regex = object(object(object(header)['string_match'])['safe_regex'])['regex']
    return regex === undefined || new RegExp(`^(?:${String(regex)})$`).test(method)
  })
}

function landing(set: ResourceSet, cluster: string): Landing | string {
  const found = set[typeUrls.cluster]?.get(cluster)
  if (!found) return `no Envoy cluster "${cluster}"`
  const shape = jsonOf(found)
  if (shape['type'] === 'ORIGINAL_DST')
    return `the address that was dialled, ${shape['transport_socket'] ? 'mutual TLS' : 'as it is'}, by ${cluster}`
  const resource = set[typeUrls.endpoint]?.get(cluster)
  if (!resource) return { cluster, tiers: [] }
  const tiers: string[][] = []
  for (const locality of list(jsonOf(resource)['endpoints']).map(object)) {
    const priority = Number(locality['priority'] ?? 0)
    const source = String(object(locality['locality'])['sub_zone'] ?? 'own')
    const hosts = list(locality['lb_endpoints']).map((e) => {
      const endpoint = object(e)
      const health = String(endpoint['health_status'] ?? 'UNKNOWN')
      const suffix = health === 'HEALTHY' || health === 'UNKNOWN' ? '' : ` ${health}`
      return `${addressOf(object(endpoint['endpoint'])['address'])}${suffix}`
    })
    const tier = tiers[priority] ?? []
    tiers[priority] = tier
    tier.push(`${source} ×${String(locality['load_balancing_weight'])}: ${hosts.join(', ')}`)
  }
  return { cluster, tiers }
}

const addressOf = (value: PlainJson | undefined): string => {
  const socket = object(object(value)['socket_address'])
  return `${String(socket['address'])}:${String(socket['port_value'])}`
}

const list = (value: PlainJson | undefined): PlainJson[] => (Array.isArray(value) ? value : [])
const object = (value: PlainJson | undefined): JsonObject =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {}
