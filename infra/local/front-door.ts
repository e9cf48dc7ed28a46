import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { appPort, type SandboxPlan } from './plan.ts'
import { replaceFile } from './replace-file.ts'

const type = (name: string) => `type.googleapis.com/envoy.${name}`

/**
 * The bootstrap of the front door: a stock Envoy that stands for the user's own DNS and load balancer. It reaches
 * productpage in every cluster by plain HTTP, checks each every half second, and tries another where one fails. What
 * begins with `/sandbox/` is the sandbox's own: it is passed to the Unix socket `stateDoor`.
 */
export function writeFrontDoor(dir: string, shop: SandboxPlan['shop'], stateDoor: string): string {
  mkdirSync(dir, { recursive: true })
  const path = join(dir, 'front-door.json')
  writeFileSync(path, JSON.stringify(bootstrap(dir, shop, stateDoor), null, 1))
  writeAddresses(dir, [])
  return path
}

/** Tells the running front door where productpage is. Envoy follows the rename. */
export function writeAddresses(dir: string, addresses: readonly string[]): void {
  const assignment = {
    '@type': type('config.endpoint.v3.ClusterLoadAssignment'),
    cluster_name: 'productpage',
    endpoints: [{ lb_endpoints: addresses.map((one) => ({ endpoint: { address: address(one, appPort) } })) }],
  }
  replaceFile(join(dir, 'endpoints.json'), JSON.stringify({ resources: [assignment] }))
}

const address = (host: string, port: number) => ({ socket_address: { address: host, port_value: port } })

function bootstrap(dir: string, shop: SandboxPlan['shop'], stateDoor: string) {
  return {
    node: { id: 'front-door', cluster: 'front-door' },
    admin: { address: { pipe: { path: join(dir, 'admin.sock'), mode: 0o600 } } },
    static_resources: {
      listeners: [
        { name: 'shop', address: address(shop.host, shop.port), filter_chains: [{ filters: [connectionManager()] }] },
      ],
      clusters: [productpage(dir), ownState(stateDoor)],
    },
  }
}

const connectionManager = () => ({
  name: 'envoy.filters.network.http_connection_manager',
  typed_config: {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'shop',
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
      },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'shop',
          domains: ['*'],
          routes: [
            { match: { prefix: '/sandbox/' }, route: { cluster: 'sandbox', timeout: '0s' } },
            { match: { prefix: '/' }, route: { cluster: 'productpage', timeout: '15s', retry_policy: retries } },
          ],
        },
      ],
    },
  },
})

const ownState = (path: string) => ({
  name: 'sandbox',
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: {
    cluster_name: 'sandbox',
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
  },
})

const retries = {
  retry_on: 'connect-failure,refused-stream,reset,gateway-error',
  num_retries: 3,
  host_selection_retry_max_attempts: 8,
  retry_back_off: { base_interval: '0.025s', max_interval: '0.25s' },
  retry_host_predicate: [
    {
      name: 'envoy.retry_host_predicates.previous_hosts',
      typed_config: { '@type': type('extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate') },
    },
  ],
}

const noLimit = {
  max_connections: 4294967295,
  max_pending_requests: 4294967295,
  max_requests: 4294967295,
  max_retries: 4294967295,
}

const productpage = (dir: string) => ({
  name: 'productpage',
  type: 'EDS',
  eds_cluster_config: {
    eds_config: { resource_api_version: 'V3', path_config_source: { path: join(dir, 'endpoints.json') } },
  },
  connect_timeout: '0.5s',
  lb_policy: 'ROUND_ROBIN',
  circuit_breakers: { thresholds: [noLimit] },
  common_lb_config: { healthy_panic_threshold: { value: 1 } },
  health_checks: [
    {
      timeout: '0.5s',
      interval: '0.5s',
      unhealthy_interval: '0.5s',
      no_traffic_interval: '0.5s',
      unhealthy_threshold: 1,
      healthy_threshold: 1,
      http_health_check: { path: '/health' },
    },
  ],
})
