import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { FleetProxy } from '#tests/support/fleet-proxy.ts'

/** Everything that an Envoy got by discovery: `<type> <name>` → version and content, as JSON text. */
export type Discovered = ReadonlyMap<string, string>

type Loose = Readonly<Record<string, unknown>>
const loose = (value: unknown): Loose => (typeof value === 'object' && value !== null ? (value as Loose) : {})
const list = (value: unknown): readonly Loose[] => (Array.isArray(value) ? value.map(loose) : [])

/** What an Envoy holds now, without the times at which it came. Throws where a resource is not accepted yet. */
export async function discoveredBy(proxy: FleetProxy): Promise<Discovered> {
  const dump = loose(JSON.parse(await proxy.admin('/config_dump?include_eds')))
  return new Map(
    list(dump['configs']).flatMap((config) => [
      ...list(config['dynamic_active_clusters']).map((one) => entry('cluster', one, loose(one['cluster'])['name'])),
      ...list(config['dynamic_listeners']).map((one) => entry('listener', loose(one['active_state']), one['name'])),
      ...list(config['dynamic_route_configs']).map((one) => entry('route', one, loose(one['route_config'])['name'])),
      ...list(config['dynamic_endpoint_configs']).map((one) =>
        entry('endpoint', one, loose(one['endpoint_config'])['cluster_name']),
      ),
    ]),
  )
}

function entry(type: string, held: Loose, name: unknown): [string, string] {
  const { last_updated: _, ...rest } = held
  if (typeof name !== 'string') throw new Error(`a ${type} without a name: ${JSON.stringify(held).slice(0, 200)}`)
  return [`${type} ${name}`, canonicalJson(rest as Json)]
}

/** Addresses of the hosts of one Envoy cluster that Envoy would call now: in its list, healthy, not draining. */
export async function hostsOf(proxy: FleetProxy, xdsCluster: string): Promise<string[]> {
  const all = loose(JSON.parse(await proxy.admin('/clusters?format=json')))
  const found = list(all['cluster_statuses']).find((one) => one['name'] === xdsCluster)
  return list(found?.['host_statuses'])
    .filter((host) => (loose(host['health_status'])['eds_health_status'] ?? 'HEALTHY') === 'HEALTHY')
    .map((host) => String(loose(loose(host['address'])['socket_address'])['address']))
    .sort()
}
