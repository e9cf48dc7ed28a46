import { create } from '@bufbuild/protobuf'
import { HealthStatus } from '#gen/envoy/config/core/v3/health_check_pb.js'
import type {
  LbEndpointSchema,
  LocalityLbEndpointsSchema,
} from '#gen/envoy/config/endpoint/v3/endpoint_components_pb.js'
import {
  type ClusterLoadAssignment_PolicySchema,
  ClusterLoadAssignmentSchema,
} from '#gen/envoy/config/endpoint/v3/endpoint_pb.js'
import { outboundNameOf } from '#mesh/model/host.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import type { View } from '#mesh/model/view.ts'
import type { Callable } from '#mesh/translate/callable.ts'
import { compareText, encode, type Fields, ownerOf, socketAddress } from '#mesh/translate/encode.ts'
import type { Host } from '#mesh/translate/hosts.ts'
import { type OwnPod, ownPodsOf } from '#mesh/translate/own-pods.ts'
import { type Share, tiersOf } from '#mesh/translate/tiers.ts'

type Localities = Fields<typeof LocalityLbEndpointsSchema>[]

/** Where the calls of one callable may go, before it is written down for Envoy: plain data, to be compared. */
export type Places =
  | { readonly kind: 'local'; readonly pods: readonly OwnPod[] }
  | {
      readonly kind: 'federated'
      readonly tiers: readonly (readonly Share[])[]
      readonly overprovisioningFactor: number
    }

export function placesOf(view: View, callable: Callable): Places {
  const { road } = callable
  if (road === undefined) return { kind: 'local', pods: ownPodsOf(view, callable.key, callable.port) }
  const tiers = tiersOf(view, road, callable.port)
  const overprovisioningFactor = factorOf(tiers, road.imported.settings.overprovisioningFactor)
  return { kind: 'federated', tiers, overprovisioningFactor }
}

/**
 * What Envoy multiplies the healthy part of a priority with. It takes hosts for capacity; a gateway has none of its own,
 * so where every priority is one cluster behind gateways, one of them that is left keeps all calls: with 140 % and two
 * gateways 30 % of the calls left a cluster that had lost no pod, until the relay had its verdict. With pods or several
 * clusters in a priority the factor stays what was asked for, because there health is capacity.
 */
export function factorOf(tiers: readonly (readonly Share[])[], asked: number): number {
  const healthy = tiers.filter((shares) =>
    shares.some(({ hosts }) => hosts.some((host) => host.health !== 'UNHEALTHY')),
  )
  if (healthy.some((shares) => shares.length > 1 || shares[0]?.behind !== 'gateways')) return asked
  return Math.max(asked, ...healthy.map((shares) => 100 * (shares[0]?.hosts.length ?? 1)))
}

/**
 * The endpoints of one callable. Federated: tiers as priorities, one locality per source cluster (`sub_zone` is its
 * name, so that no two merge). Local: the own pods by locality, as istiod. May be empty, and then says so to Envoy.
 */
export function assignmentOf(callable: Callable, places: Places): XdsResource {
  const name = outboundNameOf(callable.host, callable.port.port)
  if (places.kind === 'local') return assembled(name, callable.key, localLocalities(places.pods))
  return assembled(name, callable.key, federatedLocalities(places.tiers), {
    overprovisioningFactor: places.overprovisioningFactor,
    weightedPriorityHealth: true,
  })
}

/** The own pods of one exported port, as the east-west gateway sees them: those that end mutual TLS themselves. */
export function assignmentAtGateway(name: string, key: string, pods: readonly OwnPod[]): XdsResource {
  return assembled(name, key, localLocalities(pods.filter((p) => p.meshed)))
}

function assembled(
  name: string,
  key: string,
  endpoints: Localities,
  policy?: Fields<typeof ClusterLoadAssignment_PolicySchema>,
): XdsResource {
  const message = create(ClusterLoadAssignmentSchema, {
    clusterName: name,
    endpoints,
    ...(policy === undefined ? {} : { policy }),
  })
  return encode({ type: typeUrls.endpoint, name, owner: ownerOf(key) }, ClusterLoadAssignmentSchema, message)
}

const federatedLocalities = (tiers: readonly (readonly Share[])[]): Localities =>
  tiers.flatMap((shares, priority) =>
    shares.map((share) => ({
      priority,
      locality: { region: share.region, zone: share.zone, subZone: share.cluster },
      loadBalancingWeight: share.weight,
      lbEndpoints: share.hosts.map((host) =>
        lbEndpoint(host, host.meshed ? { cluster: share.cluster, tlsMode: 'istio' } : { tlsMode: 'disabled' }),
      ),
    })),
  )

function localLocalities(pods: readonly OwnPod[]): Localities {
  const serving = pods.filter((p) => p.endpoint.health !== 'not-ready')
  const byLocality = Map.groupBy(serving, ({ endpoint }) =>
    JSON.stringify([endpoint.locality.region, endpoint.locality.zone]),
  )
  return [...byLocality]
    .toSorted(([a], [b]) => compareText(a, b))
    .map(([, members]) => ({
      locality: { ...members[0]?.endpoint.locality },
      loadBalancingWeight: members.length,
      lbEndpoints: members.map(({ endpoint, port, meshed }) =>
        lbEndpoint(
          { address: endpoint.address, port, weight: 1, health: endpoint.health === 'ready' ? 'HEALTHY' : 'DRAINING' },
          meshed ? { tlsMode: 'istio' } : undefined,
        ),
      ),
    }))
}

const lbEndpoint = (
  host: Omit<Host, 'meshed'>,
  match: { readonly [key: string]: string } | undefined,
): Fields<typeof LbEndpointSchema> => ({
  hostIdentifier: { case: 'endpoint', value: { address: socketAddress(host.address, host.port) } },
  healthStatus: HealthStatus[host.health],
  loadBalancingWeight: host.weight,
  ...(match === undefined ? {} : { metadata: { filterMetadata: { 'envoy.transport_socket_match': { ...match } } } }),
})
