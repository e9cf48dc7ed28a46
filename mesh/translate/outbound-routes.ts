import { create } from '@bufbuild/protobuf'
import type {
  RetryPolicySchema,
  RouteSchema,
  VirtualHostSchema,
} from '#gen/envoy/config/route/v3/route_components_pb.js'
import { RouteConfigurationSchema } from '#gen/envoy/config/route/v3/route_pb.js'
import { PreviousHostsPredicateSchema } from '#gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.js'
import { PreviousPrioritiesConfigSchema } from '#gen/envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config_pb.js'
import { outboundNameOf } from '#mesh/model/host.ts'
import { partsOf } from '#mesh/model/id.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import type { Callable, Road } from '#mesh/translate/callable.ts'
import { duration, encode, extension, type Fields } from '#mesh/translate/encode.ts'

type Routes = Fields<typeof RouteSchema>[]

/** What a Host that names nothing gets: passed on as addressed, or a plain answer where nothing was intercepted. */
export type Unknown = 'pass' | 'refuse'

/**
 * The routes of one port for proxies of one namespace: one virtual host per callable, short names as the namespace sees
 * them. A name that two services claim goes to the first by key, since Envoy refuses the whole set otherwise.
 */
export function outboundRoutesOf(
  port: number,
  callables: readonly Callable[],
  facts: { readonly namespace: string; readonly unknown: Unknown },
): XdsResource {
  const name = String(port)
  const taken = new Set<string>()
  const virtualHosts = callables.flatMap((callable) => {
    const domains = domainsOf(callable, facts).filter((domain) => !taken.has(domain))
    for (const domain of domains) taken.add(domain)
    return domains.length === 0 ? [] : [virtualHostOf(callable, domains)]
  })
  const message = create(RouteConfigurationSchema, {
    name,
    ignorePortInHostMatching: true,
    validateClusters: false,
    virtualHosts: [...virtualHosts, facts.unknown === 'pass' ? allowAny : noSuchService(port)],
  })
  return encode({ type: typeUrls.route, name }, RouteConfigurationSchema, message)
}

/**
 * Full names, with and without the final dot, the short forms of the cluster's own name, and the Service's addresses. A
 * headless Service takes the names of its pods too where traffic is redirected: the address says which of them is meant.
 */
function domainsOf(
  callable: Callable,
  { namespace, unknown }: { readonly namespace: string; readonly unknown: Unknown },
): readonly string[] {
  const service = partsOf(callable.key)
  const full = callable.names.flatMap((name) => [name, `${name}.`])
  const addresses = callable.clusterIps.map((ip) => (ip.includes(':') ? `[${ip}]` : ip))
  if (!callable.host.endsWith('.cluster.local')) return [...full, ...addresses]
  const pod = callable.hostname === undefined ? '' : `${callable.hostname}.`
  const two = `${service.name}.${service.namespace}`
  const same = service.namespace === namespace ? [service.name] : []
  const names = [...full, ...[`${two}.svc`, two, ...same].map((name) => pod + name)]
  const ofPods = callable.headless && unknown === 'pass' ? names.map((name) => `*.${name}`) : []
  return [...names, ...ofPods, ...addresses]
}

function virtualHostOf(callable: Callable, domains: readonly string[]): Fields<typeof VirtualHostSchema> {
  const cluster = outboundNameOf(callable.host, callable.port.port)
  return {
    name: `${callable.host}:${callable.port.port}`,
    domains: [...domains],
    routes: callable.road === undefined ? localRoutes(cluster) : federatedRoutes(cluster, callable.road),
  }
}

const localRoutes = (cluster: string): Routes => [
  {
    name: 'default',
    match: everything,
    action: routeTo(cluster, {
      numRetries: 2,
      retryOn: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
      retriableStatusCodes: [503],
      hostSelectionRetryMaxAttempts: 5n,
      retryHostPredicate: [otherHost],
    }),
  },
]

/**
 * Methods that may be repeated are retried whatever broke; the others only where nothing was sent, unless a policy says
 * that every request may be sent twice. Each retry goes to another host, and after one failure (two where the first tier
 * has several clusters, so that it is tried within the tier first) to the next tier: without that a dead tier is asked
 * again and again.
 */
function federatedRoutes(cluster: string, road: Road): Routes {
  const { settings, policy } = road.imported
  const isMixed = (road.tiers[0]?.members.length ?? 0) > 1
  const retry = {
    numRetries: settings.retries,
    hostSelectionRetryMaxAttempts: 5n,
    retryBackOff: { baseInterval: duration(25), maxInterval: duration(250) },
    retryHostPredicate: [otherHost],
    retryPriority: extension('envoy.retry_priorities.previous_priorities', PreviousPrioritiesConfigSchema, {
      updateFrequency: isMixed ? 2 : 1,
    }),
    ...(policy?.perTryMs === undefined ? {} : { perTryTimeout: duration(policy.perTryMs) }),
  }
  const whatever = {
    ...retry,
    retryOn: 'connect-failure,refused-stream,reset,unavailable,cancelled,retriable-status-codes',
    retriableStatusCodes: [503],
  }
  const unsent = { ...retry, retryOn: 'connect-failure,refused-stream,reset-before-request' }
  const timeoutMs = policy?.requestMs ?? 0
  const rest = {
    ...{ name: 'default', match: everything },
    action: routeTo(cluster, policy?.idempotent ? whatever : unsent, timeoutMs),
  }
  if (policy?.idempotent) return [rest]
  const match = { ...everything, headers: [repeatable] }
  return [{ name: 'repeatable', match, action: routeTo(cluster, whatever, timeoutMs) }, rest]
}

const everything = { pathSpecifier: { case: 'prefix' as const, value: '/' } }

const repeatable = {
  name: ':method',
  headerMatchSpecifier: {
    case: 'stringMatch' as const,
    value: {
      matchPattern: { case: 'safeRegex' as const, value: { regex: 'GET|HEAD|OPTIONS|PUT|DELETE|TRACE' } },
    },
  },
}

/** No timeout unless a policy asks for one: streams and long polls are the application's business. 0 = none. */
const routeTo = (cluster: string, retryPolicy: Fields<typeof RetryPolicySchema>, timeoutMs = 0) => ({
  case: 'route' as const,
  value: { clusterSpecifier: { case: 'cluster' as const, value: cluster }, timeout: duration(timeoutMs), retryPolicy },
})

const otherHost = extension('envoy.retry_host_predicates.previous_hosts', PreviousHostsPredicateSchema, {})

const allowAny: Fields<typeof VirtualHostSchema> = {
  name: 'allow_any',
  domains: ['*'],
  routes: [
    {
      name: 'allow_any',
      match: everything,
      action: {
        case: 'route',
        value: { clusterSpecifier: { case: 'cluster', value: 'PassthroughCluster' }, timeout: duration(0) },
      },
    },
  ],
}

const noSuchService = (port: number): Fields<typeof VirtualHostSchema> => ({
  name: 'block_all',
  domains: ['*'],
  routes: [
    {
      name: 'block_all',
      match: everything,
      action: {
        case: 'directResponse',
        value: {
          status: 502,
          body: {
            specifier: {
              case: 'inlineString',
              value: `isthmus: no service of this name has port ${port} here; it may not be exported to this cluster\n`,
            },
          },
        },
      },
    },
  ],
})
