import type { ResourceSet } from '#mesh/model/resource.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import { jsonOf, type PlainJson, resourcesOf } from '#mesh/translate/testdata/golden.ts'

type JsonObject = { [key: string]: PlainJson }

/**
 * A bootstrap that holds a whole set as static resources, for `envoy --mode validate`: routes go inline into their
 * listeners, endpoints into their clusters, secrets are found by name, and a cluster of the real bootstrap stands beside.
 */
export function staticBootstrap(set: ResourceSet): JsonObject {
  const routes = new Map(resourcesOf(set, typeUrls.route).map((r) => [r.name, jsonOf(r)]))
  const endpoints = new Map(resourcesOf(set, typeUrls.endpoint).map((r) => [r.name, jsonOf(r)]))
  const listeners = resourcesOf(set, typeUrls.listener).map((r) => bySecretName(withRoutes(jsonOf(r), routes)))
  const clusters = resourcesOf(set, typeUrls.cluster).map((r) => bySecretName(withEndpoints(jsonOf(r), endpoints)))
  return {
    node: { id: 'validate', cluster: 'validate' },
    static_resources: {
      listeners,
      secrets: resourcesOf(set, typeUrls.secret).map(jsonOf),
      clusters: [...clusters, { name: 'sds-grpc', type: 'STATIC', connect_timeout: '1s' }],
    },
  }
}

/** Every `rds` in a listener as the `route_config` it names; a name that is not in the set is a fault. */
function withRoutes(value: PlainJson, routes: ReadonlyMap<string, JsonObject>): PlainJson {
  if (Array.isArray(value)) return value.map((one) => withRoutes(one, routes))
  if (value === null || typeof value !== 'object') return value
  const { rds, ...rest } = value
  const inner = Object.fromEntries(Object.entries(rest).map(([key, one]) => [key, withRoutes(one, routes)]))
  if (rds === undefined) return inner
  const name = String((rds as JsonObject)['route_config_name'])
  const found = routes.get(name)
  if (!found) throw new Error(`a listener refers to the routes "${name}", which are not in the set`)
  return { ...inner, route_config: found }
}

/** A secret that would come by ADS is a static one of the same name. */
function bySecretName(value: PlainJson): PlainJson {
  if (Array.isArray(value)) return value.map(bySecretName)
  if (value === null || typeof value !== 'object') return value
  const kept = Object.entries(value).filter(([key, one]) => key !== 'sds_config' || !('ads' in (one as JsonObject)))
  return Object.fromEntries(kept.map(([key, one]) => [key, bySecretName(one)]))
}

function withEndpoints(cluster: JsonObject, endpoints: ReadonlyMap<string, JsonObject>): JsonObject {
  if (cluster['type'] !== 'EDS') return cluster
  const { eds_cluster_config: _, ...rest } = cluster
  const name = String(cluster['name'])
  const found = endpoints.get(name)
  if (!found) throw new Error(`the EDS cluster "${name}" has no endpoints in the set`)
  return { ...rest, type: 'STATIC', load_assignment: found }
}
