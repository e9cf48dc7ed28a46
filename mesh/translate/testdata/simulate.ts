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

/**
 * How many of `calls` land on each host of an Envoy cluster, by Envoy's own formulas: the load of a priority follows the
 * weight of its healthy hosts × the overprovisioning factor, that of a locality its weight × the part of its hosts (by
 * number) that is healthy × the factor, that of a host its weight. Where nothing is healthy every host counts as such
 * (panic threshold 1). Hosts read `b 127.22.0.2:15443`.
 */
export function sharesOf(set: ResourceSet, cluster: string, calls: number): Readonly<Record<string, number>> {
  const resource = set[typeUrls.endpoint]?.get(cluster)
  if (!resource) throw new Error(`no endpoints of "${cluster}"`)
  const assignment = jsonOf(resource)
  const factor = Number(object(assignment['policy'])['overprovisioning_factor'] ?? 140) / 100
  const localities = list(assignment['endpoints']).map(localityOf)
  const isPanic = !localities.some(({ hosts }) => hosts.some((host) => host.isHealthy))
  const priorities = Object.values(Object.groupBy(localities, (one) => String(one.priority))).map((all) => all ?? [])
  const healths = priorities.map((all) => {
    const hosts = all.flatMap((one) => one.hosts)
    const healthy = hosts.filter((host) => isPanic || host.isHealthy)
    return Math.min(1, (sumOf(healthy.map((h) => h.weight)) / sumOf(hosts.map((h) => h.weight))) * factor)
  })
  const total = Math.min(1, sumOf(healths))
  let left = 1
  const parts = priorities.flatMap((all, at) => {
    const load = Math.min(left, (healths[at] ?? 0) / total)
    left -= load
    const effective = all.map(({ weight, hosts }) => {
      const healthy = hosts.filter((host) => isPanic || host.isHealthy)
      return { healthy, weight: weight * Math.min(1, (healthy.length / hosts.length) * factor) }
    })
    return effective.flatMap(({ healthy, weight }) => {
      const part = (load * weight) / (sumOf(effective.map((one) => one.weight)) || 1)
      return healthy.map((host) => ({
        name: host.name,
        part: (part * host.weight) / sumOf(healthy.map((h) => h.weight)),
      }))
    })
  })
  let end = 0
  const ends = parts.map(({ name, part }) => {
    end += part
    return { name, end }
  })
  const landed: Record<string, number> = {}
  for (let call = 0; call < calls; call += 1) {
    const { name } = ends.find((one) => (call + 0.5) / calls < one.end) ?? { name: 'nowhere' }
    landed[name] = (landed[name] ?? 0) + 1
  }
  return landed
}

function localityOf(value: PlainJson) {
  const locality = object(value)
  const cluster = String(object(locality['locality'])['sub_zone'] ?? 'own')
  return {
    priority: Number(locality['priority'] ?? 0),
    weight: Number(locality['load_balancing_weight']),
    hosts: list(locality['lb_endpoints']).map((one) => {
      const endpoint = object(one)
      const health = String(endpoint['health_status'] ?? 'UNKNOWN')
      return {
        name: `${cluster} ${addressOf(object(endpoint['endpoint'])['address'])}`,
        weight: Number(endpoint['load_balancing_weight'] ?? 1),
        isHealthy: health === 'HEALTHY' || health === 'UNKNOWN',
      }
    }),
  }
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0)

const addressOf = (value: PlainJson | undefined): string => {
  const socket = object(object(value)['socket_address'])
  return `${String(socket['address'])}:${String(socket['port_value'])}`
}

const list = (value: PlainJson | undefined): PlainJson[] => (Array.isArray(value) ? value : [])
const object = (value: PlainJson | undefined): JsonObject =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {}
