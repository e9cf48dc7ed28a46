import { create } from '@bufbuild/protobuf'
import { Cluster_DiscoveryType, Cluster_LbPolicy, ClusterSchema } from '#gen/envoy/config/cluster/v3/cluster_pb.js'
import { TrafficDirection } from '#gen/envoy/config/core/v3/base_pb.js'
import type { FilterChainSchema } from '#gen/envoy/config/listener/v3/listener_components_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { addressKey } from '#mesh/model/address.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { ExportedService } from '#mesh/model/cluster-config.ts'
import { clusterHostOf, podHostOf, probeSniOf, sniOf } from '#mesh/model/host.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { podNamesOf } from '#mesh/model/pod-name.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import { type ResourceSet, typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import type { View } from '#mesh/model/view.ts'
import { compareText, duration, encode, type Fields, fromAds, ownerOf, socketAddress } from '#mesh/translate/encode.ts'
import { assignmentAtGateway } from '#mesh/translate/endpoints.ts'
import { inboundHttp, tcpTo } from '#mesh/translate/http.ts'
import { tlsInspector } from '#mesh/translate/inbound.ts'
import { foreignOf } from '#mesh/translate/inbound-ports.ts'
import type { Memo } from '#mesh/translate/memo.ts'
import { localOriginOnly, noLimits } from '#mesh/translate/outbound-clusters.ts'
import { headlessPods, type OwnPod, ownPodInputs, ownPodsOf } from '#mesh/translate/own-pods.ts'
import { emptyMap, named } from '#mesh/translate/resource-maps.ts'
import { idExactly, meshAlpn, orNobody, serverTls } from '#mesh/translate/tls.ts'
import { foreignAnchorsOf, ownTrustDomains, rootsOf } from '#mesh/translate/trust.ts'
import { validationSecret } from '#mesh/translate/validation.ts'

type Chain = Fields<typeof FilterChainSchema>

/** What an east-west gateway is served. */
export function routerSet(view: View, proxy: MeshProxy, memo: Memo): ResourceSet {
  const { home, own, config } = view
  const pods = headlessPods(view, memo)
  const closing = view.traffic?.closing
  const foreign = memo.data('foreign domains', [view.bundle, config?.trust], () => Object.keys(foreignAnchorsOf(view)))
  const inputs = [own.services, own.exports, config?.exports, foreign, pods, home.cluster]
  const ports = memo.keep('open ports', inputs, () => openPortsOf(view))
  const bind = gatewayBindOf(view, proxy)
  const takes = (port: OpenPort): boolean => !isClosing(view, port.key)
  const taking = memo.keep('ports that take calls', [ports, closing], () => ports.filter(takes))
  const open = isGatewayClosing(view, proxy, bind) ? [] : taking
  const listener = memo.resource(
    `gateway ${bind.address} ${bind.port}`,
    [open.map((port) => port.sni).join(), home.cluster, home.mesh],
    () => gatewayListener(view, open, bind),
  )
  // What is closing keeps its pods: what is still open to them lives on for the drain time, and is counted until its end.
  const leading = memo.keep('leading ports', [ports], () => ports.filter((port) => port.leadsTo === undefined))
  const clusters = memo.each('gateway clusters', leading, { shared: [], inputs: () => [], build: gatewayCluster })
  const endpoints = memo.each('gateway endpoints', leading, {
    shared: [],
    inputs: (port) => ownPodInputs(view, port.key),
    build: (port) => assignmentAtGateway(port.sni, port.key, podsBehind(view, port)),
  })
  return {
    [typeUrls.cluster]: named(memo, 'gateway clusters', clusters),
    [typeUrls.endpoint]: named(memo, 'gateway endpoints', endpoints),
    [typeUrls.listener]: named(memo, `gateway listeners ${bind.address} ${bind.port}`, [listener]),
    [typeUrls.route]: emptyMap,
    [typeUrls.secret]: named(memo, 'gateway secrets', probeSecrets(view, memo)),
  }
}

/** One exported port that the gateway answers for; `sni` names chain, Envoy cluster and endpoints. */
export type OpenPort = {
  readonly key: ServiceKey
  readonly port: ServicePort
  readonly sni: string
  /** Set where it leads to one pod of a headless service. */
  readonly hostname?: string
  /** Set where another open port's Envoy cluster is meant: the same pods by another name. */
  readonly leadsTo?: string
}

/**
 * The ports that the east-west gateway answers for: exported by this cluster's own objects *and* confirmed by the
 * centre, with somebody to use them. What is withdrawn here closes at once; what was never confirmed never opens. The
 * port is read from the own Service, so that no foreign word about it counts. Beside each its other names: this
 * cluster's own where the export asks for it, and the pods of a headless Service.
 */
function openPortsOf(view: View): readonly OpenPort[] {
  const exports = [...(view.config?.exports.values() ?? [])].filter((e) => isLive(view, e))
  return exports
    .toSorted((a, b) => compareText(a.key, b.key))
    .flatMap((exported) =>
      (view.own.services.get(exported.key)?.ports ?? [])
        .filter((port) => exported.ports.some((p) => p.port === port.port))
        .toSorted((a, b) => a.port - b.port)
        .flatMap((port) => namesOf(view, exported, port)),
    )
}

function namesOf(view: View, { key, host }: ExportedService, port: ServicePort): readonly OpenPort[] {
  const { own, home } = view
  const { cluster } = home
  const sni = sniOf(host, port.port)
  const meshed = (own.services.get(key)?.headless && own.endpoints.get(key)?.filter((e) => e.meshed)) || []
  return [
    { key, port, sni },
    ...(own.exports.get(key)?.perCluster
      ? [{ key, port, sni: sniOf(clusterHostOf(key, cluster), port.port), leadsTo: sni }]
      : []),
    ...podNamesOf({ key, cluster }, meshed).names.map(({ hostname }) => ({
      ...{ key, port, hostname },
      sni: sniOf(podHostOf(key, cluster, hostname), port.port),
    })),
  ]
}

const podsBehind = (view: View, { key, port, hostname }: OpenPort): readonly OwnPod[] =>
  ownPodsOf(view, key, port).filter(({ endpoint }) => hostname === undefined || endpoint.hostname === hostname)

const isLive = (view: View, exported: ExportedService): boolean =>
  view.own.exports.has(exported.key) && (exported.consumers.length > 0 || foreignOf(view, exported).length > 0)

/** At the end of a drain its chains go: what callers still have open ends with the drain time. The probe chain stays. */
const isClosing = ({ traffic }: View, key: ServiceKey): boolean =>
  traffic?.closing === 'all' || traffic?.closing.has(key) === true

/** The same for this one of the own gateways. */
function isGatewayClosing({ traffic, home }: View, { ips }: MeshProxy, bind: Bind): boolean {
  const closing = traffic?.gatewaysClosing
  if (closing === undefined || closing.size === 0) return false
  const own = home.gateways.filter(({ address }) => ips.includes(address))
  return [bind, ...own].some((one) => closing.has(sha256Hex(addressKey(one))))
}

/**
 * The gateway's one listener: a chain per open port that passes TLS on unread, chosen by SNI and the mesh's ALPN, and
 * the probe chain. An SNI without a chain is closed without any upstream connection; withdrawing a chain ends its
 * connections after the drain time. `sni_cluster` was rejected: a stranger reaches the bootstrap's clusters through it.
 */
function gatewayListener(view: View, open: readonly OpenPort[], bind: Bind): XdsResource {
  const name = `${bind.address}_${bind.port}`
  const message = create(ListenerSchema, {
    name,
    address: socketAddress(bind.address, bind.port),
    trafficDirection: TrafficDirection.OUTBOUND,
    listenerFilters: [tlsInspector],
    listenerFiltersTimeout: duration(5000),
    filterChains: [...open.map(passThrough), probeChain(view)],
  })
  return encode({ type: typeUrls.listener, name }, ListenerSchema, message)
}

const passThrough = ({ sni, leadsTo = sni }: OpenPort): Chain => ({
  name: sni,
  filterChainMatch: { serverNames: [sni], applicationProtocols: [...meshAlpn] },
  transportSocketConnectTimeout: duration(15_000),
  filters: [tcpTo(leadsTo)],
})

/** The relays of the mesh, by their exact ids: only they may probe. */
function probeSecrets(view: View, memo: Memo): readonly XdsResource[] {
  const roots = rootsOf(view)
  const domains = new Set([...ownTrustDomains(view), ...(view.config?.trust.members.map((m) => m.trustDomain) ?? [])])
  const names = [...domains].sort().map((domain) => idExactly(`spiffe://${domain}/ns/isthmus-system/sa/relay`))
  if (roots === undefined) return []
  const name = probeSniOf(view.home.cluster, view.home.mesh)
  return [
    memo.resource('probe secret', [name, roots, JSON.stringify(names)], () =>
      validationSecret({ name }, { roots, names: orNobody(names) }),
    ),
  ]
}

/** Ends TLS with the gateway's own certificate and answers 200; whom it admits is the secret of its SNI's name. */
function probeChain(view: View): Chain {
  const sni = probeSniOf(view.home.cluster, view.home.mesh)
  return {
    name: sni,
    filterChainMatch: { serverNames: [sni], transportProtocol: 'tls' },
    transportSocketConnectTimeout: duration(15_000),
    transportSocket: serverTls(sni, ['h2', 'http/1.1']),
    filters: [
      inboundHttp({
        statPrefix: 'probe',
        routeSpecifier: {
          case: 'routeConfig',
          value: {
            name: 'probe',
            virtualHosts: [
              {
                name: 'probe',
                domains: ['*'],
                routes: [
                  {
                    name: 'probe',
                    match: { pathSpecifier: { case: 'prefix', value: '/' } },
                    action: { case: 'directResponse', value: { status: 200 } },
                  },
                ],
              },
            ],
          },
        },
      }),
    ],
  }
}

/**
 * The Envoy cluster behind one SNI: the own pods and nothing else, never another gateway. A pod that refused once is out
 * for five seconds, so that the next attempt of the same connection meets another; where one pod is meant there is none.
 */
function gatewayCluster(open: OpenPort): XdsResource {
  const message = create(ClusterSchema, {
    name: open.sni,
    altStatName: `${open.sni};`,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: fromAds, serviceName: open.sni },
    connectTimeout: duration(1000),
    lbPolicy: Cluster_LbPolicy.LEAST_REQUEST,
    circuitBreakers: noLimits,
    commonLbConfig: { healthyPanicThreshold: { value: 0 }, updateMergeWindow: duration(0) },
    ...(open.hostname === undefined
      ? { outlierDetection: { ...localOriginOnly, consecutiveLocalOriginFailure: 1, maxEjectionPercent: 50 } }
      : {}),
  })
  return encode({ type: typeUrls.cluster, name: open.sni, owner: ownerOf(open.key) }, ClusterSchema, message)
}

export type Bind = { readonly address: string; readonly port: number }

/**
 * Where a gateway listens: as its node says; else at the gateway address that is its own (a gateway others dial without
 * a load balancer); else on every address at Istio's port.
 */
function gatewayBindOf(view: View, proxy: MeshProxy): Bind {
  const own = view.home.gateways.find((gateway) => proxy.ips.includes(gateway.address))
  return proxy.gateway ?? (own ? { address: own.address, port: own.port } : { address: '0.0.0.0', port: 15443 })
}
