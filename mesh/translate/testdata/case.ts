import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { Json } from '#mesh/model/canonical.ts'
import type {
  ClusterConfig,
  CompiledPolicy,
  ExportedService,
  ImportedService,
  Source,
  SourceDrain,
  TrafficSettings,
} from '#mesh/model/cluster-config.ts'
import type { Endpoint, Health } from '#mesh/model/endpoint.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import { hostOf } from '#mesh/model/host.ts'
import type { ClusterName, MeshName, NetworkName, ServiceKey, TrustDomain } from '#mesh/model/id.ts'
import type { PeerAuthentication, Pod } from '#mesh/model/pod.ts'
import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { Protocol, ServicePort } from '#mesh/model/service.ts'
import type { PortCount, ServiceSummary } from '#mesh/model/summary.ts'
import type { Admitted, Traffic } from '#mesh/model/traffic.ts'
import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { View } from '#mesh/model/view.ts'
import { parseProxy } from '#mesh/translate/node.ts'

/** What a golden case says, in short: the rest has standard values. Only tests read this. */
export type CaseText = {
  readonly cluster: string
  readonly region: string
  readonly network?: string
  readonly gateways?: readonly string[]
  readonly services?: Readonly<Record<string, ServiceText>>
  readonly pods?: Readonly<Record<string, PodText>>
  /** `bookinfo/reviews [per-cluster]` */
  readonly exports?: readonly string[]
  readonly refused?: readonly string[]
  readonly peerAuthentications?: readonly Partial<PeerAuthentication>[]
  readonly config?: ConfigText
  readonly bundle?: BundleText
  readonly summaries?: Readonly<Record<string, SummaryText>>
  readonly traffic?: TrafficText
  readonly proxy: ProxyText
}

type ServiceText = {
  readonly ports: readonly string[]
  readonly ips?: readonly string[]
  readonly headless?: boolean
}

type PodText = {
  readonly ip: string
  readonly account: string
  readonly labels?: Readonly<Record<string, string>>
  readonly health?: Health
  readonly zone?: string
  readonly plain?: boolean
  readonly hostname?: string
  /** Service → port on the pod by the service port's name. */
  readonly behind: Readonly<Record<string, Readonly<Record<string, number>>>>
}

type ConfigText = {
  readonly members: readonly string[]
  /** PEM; one test root unless said. */
  readonly roots?: readonly string[]
  readonly imports?: Readonly<
    Record<
      string,
      {
        readonly ports: readonly string[]
        /** `b net-b r1 reviews,other [9080] [per-cluster]` */
        readonly sources: readonly string[]
        readonly tiers: readonly Readonly<Record<string, number>>[]
        readonly settings?: Partial<TrafficSettings>
        /** What differs from a policy that says nothing; `{}` is one. */
        readonly policy?: Partial<CompiledPolicy>
        readonly drains?: readonly SourceDrain[]
      }
    >
  >
  readonly exports?: Readonly<
    Record<
      string,
      {
        readonly ports: readonly string[]
        readonly consumers: readonly string[]
        readonly foreign?: readonly string[]
        readonly cut?: number
      }
    >
  >
}

type BundleText = {
  /** PEM; one test root unless said. */
  readonly roots?: readonly string[]
  /** `c.mesh1 c 3`: domain, cluster, cut. */
  readonly revoked?: readonly string[]
  /** `spiffe://c.mesh1/ns/shop/sa/web 4`: id, cut. */
  readonly denied?: readonly string[]
  /** Trust domain → PEM. */
  readonly foreign?: Readonly<Record<string, readonly string[]>>
  /** `partner.example 5`: domain, cut. */
  readonly unfederated?: readonly string[]
}

type SummaryText = {
  readonly gateways?: readonly string[]
  readonly services?: Readonly<Record<string, SummaryOfService>>
}

type SummaryOfService = {
  readonly counts: readonly string[]
  readonly flat?: readonly string[]
  readonly podNames?: readonly string[]
}

type TrafficText = {
  /** Cluster → `50 drain`, `100 quota 0.4`: percent, reason, cap. */
  readonly clusters?: Readonly<Record<string, string>>
  readonly services?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Cluster → addresses with their ports. */
  readonly gatewaysDown?: Readonly<Record<string, readonly string[]>>
  readonly gatewaysDraining?: Readonly<Record<string, readonly string[]>>
  /** `b shop/cart 80` → pods. */
  readonly peaks?: Readonly<Record<string, number>>
  /** Services; absent = none. */
  readonly closing?: 'all' | readonly string[]
}

type ProxyText = {
  readonly id: string
  readonly account: string
  readonly metadata: { readonly [key: string]: Json }
  readonly extensions?: readonly string[]
}

export const settings: TrafficSettings = {
  overprovisioningFactor: 140,
  ejectAfterFailures: 3,
  retries: 3,
  connectTimeoutMs: 1000,
}

const silentPolicy: Omit<CompiledPolicy, 'tierOf'> = {
  ...{ name: 'shop/all@1', holdSeconds: 60, rampSeconds: 300, onExporterLost: 'keep', spillByReadiness: true },
}

const rootPem = readFileSync(join(import.meta.dirname, 'root.pem'), 'utf8')

export function readCase(dir: string): { readonly view: View; readonly proxy: MeshProxy } {
  return caseOf(parse(readFileSync(join(dir, 'in.yaml'), 'utf8')) as CaseText)
}

export function caseOf(text: CaseText): { readonly view: View; readonly proxy: MeshProxy } {
  const namespace = text.proxy.id.split('~')[3]?.split('.')[0] ?? ''
  return {
    view: viewOf(text),
    proxy: parseProxy(
      { cluster: '', extensions: [], ...text.proxy },
      { namespace, serviceAccount: text.proxy.account },
    ),
  }
}

function viewOf(text: CaseText): View {
  const network = (text.network ?? `net-${text.cluster}`) as NetworkName
  const pods = Object.entries(text.pods ?? {})
  const services = Object.entries(text.services ?? {})
  return {
    home: {
      mesh: 'mesh1' as MeshName,
      cluster: text.cluster as ClusterName,
      network,
      region: text.region,
      trustDomain: domainOf(text.cluster),
      gateways: (text.gateways ?? []).map(gatewayOf),
    },
    own: {
      services: new Map(
        services.map(([key, s]) => [
          key as ServiceKey,
          {
            key: key as ServiceKey,
            ports: s.ports.map(portOf),
            clusterIps: s.ips ?? [],
            headless: s.headless ?? false,
            origin: 'in.yaml',
          },
        ]),
      ),
      endpoints: new Map(
        services.map(([key]) => [
          key as ServiceKey,
          pods.flatMap(([name, pod]) => (pod.behind[key] ? [endpointOf(text, name, pod, pod.behind[key])] : [])),
        ]),
      ),
      pods: new Map(pods.map(([name, pod]) => [name, podOf(name, pod)])),
      exports: new Map(
        (text.exports ?? []).map((line) => {
          const [key, perCluster] = line.split(' ') as [ServiceKey, string?]
          return [key, { key, createdAt: 1, origin: 'in.yaml', ...(perCluster ? { perCluster: true } : {}) }]
        }),
      ),
      refused: new Set((text.refused ?? []) as ServiceKey[]),
      peerAuthentications: (text.peerAuthentications ?? []).map((p) => ({
        namespace: 'bookinfo',
        name: 'default',
        selector: {},
        ports: {},
        ...p,
      })),
    },
    roots: [rootPem],
    ...(text.config ? { config: configOf(text, text.config, network) } : {}),
    ...(text.bundle ? { bundle: bundleOf(text.bundle) } : {}),
    ...(text.traffic ? { traffic: trafficOf(text.traffic) } : {}),
    summaries: {
      services: new Map(
        Object.entries(text.summaries ?? {}).map(([cluster, s]) => [
          cluster,
          new Map(Object.entries(s.services ?? {}).map(([key, v]) => [key, summaryOf(v)])),
        ]),
      ),
      gateways: new Map(
        Object.entries(text.summaries ?? {}).flatMap(([cluster, s]) =>
          s.gateways ? [[cluster, { gateways: s.gateways.map(gatewayOf) }]] : [],
        ),
      ),
    },
  }
}

function configOf(text: CaseText, config: ConfigText, network: NetworkName): ClusterConfig {
  return {
    mesh: 'mesh1' as MeshName,
    cluster: text.cluster as ClusterName,
    network,
    region: text.region,
    trust: {
      trustDomain: domainOf(text.cluster),
      roots: config.roots ?? [rootPem],
      members: config.members.map((m) => ({ cluster: m as ClusterName, trustDomain: domainOf(m) })),
    },
    imports: new Map(
      Object.entries(config.imports ?? {}).map(([key, i]): [ServiceKey, ImportedService] => [
        key as ServiceKey,
        {
          key: key as ServiceKey,
          host: hostOf(key as ServiceKey),
          ports: i.ports.map(portOf),
          sources: i.sources.map((s) => sourceOf(s, key, i.ports.map(portOf))),
          tiers: i.tiers.map((tier) => ({
            members: Object.entries(tier).map(([cluster, weight]) => ({ cluster: cluster as ClusterName, weight })),
          })),
          settings: { ...settings, ...i.settings },
          ...(i.policy ? { policy: { ...silentPolicy, tierOf: i.tiers.map((_, at) => at), ...i.policy } } : {}),
          ...(i.drains ? { drains: i.drains } : {}),
        },
      ]),
    ),
    exports: new Map(
      Object.entries(config.exports ?? {}).map(([key, e]): [ServiceKey, ExportedService] => [
        key as ServiceKey,
        {
          key: key as ServiceKey,
          host: hostOf(key as ServiceKey),
          ports: e.ports.map(portOf),
          consumers: e.consumers as ClusterName[],
          admitted: e.consumers.map(domainOf),
          ...(e.foreign ? { foreign: e.foreign as TrustDomain[] } : {}),
          ...(e.cut === undefined ? {} : { cut: e.cut }),
        },
      ]),
    ),
    conditions: [],
  }
}

function bundleOf({
  roots = [rootPem],
  revoked = [],
  denied = [],
  foreign = {},
  unfederated = [],
}: BundleText): TrustBundle {
  return {
    ...{ mesh: 'mesh1' as MeshName, seq: 1, at: 1, controlPlane: [] },
    roots: roots.map((pem, at) => ({ pem, state: at === 0 ? 'active' : 'published' })),
    revoked: revoked.map((line) => {
      const [trustDomain, cluster, cut] = line.split(' ')
      return { trustDomain: trustDomain as TrustDomain, cluster: cluster as ClusterName, cut: Number(cut), at: 1 }
    }),
    denied: denied.map((line) => ({ id: line.split(' ')[0] ?? '', cut: Number(line.split(' ')[1]) })),
    foreign: Object.entries(foreign).map(([name, pems]) => ({ trustDomain: name as TrustDomain, roots: pems })),
    unfederated: unfederated.map((line) => ({
      trustDomain: line.split(' ')[0] as TrustDomain,
      ...{ cut: Number(line.split(' ')[1]), at: 1 },
    })),
  }
}

/** What a test says moves traffic, as a view holds it. */
export function trafficOf(text: TrafficText): Traffic {
  const admitted = (all: Readonly<Record<string, string>> = {}) =>
    new Map(
      Object.entries(all).map(([cluster, line]): [ClusterName, Admitted] => {
        const [percent, why, cap] = line.split(' ')
        const what = { cluster: cluster as ClusterName, percent: Number(percent), why: why as Admitted['why'] }
        return [what.cluster, cap === undefined ? what : { ...what, cap: Number(cap) }]
      }),
    )
  const addresses = (all: Readonly<Record<string, readonly string[]>> = {}) =>
    new Map(Object.entries(all).map(([cluster, list]) => [cluster as ClusterName, new Set(list)]))
  const { closing = [] } = text
  return {
    gatewaysDown: addresses(text.gatewaysDown),
    gatewaysDraining: addresses(text.gatewaysDraining),
    clusters: admitted(text.clusters),
    services: new Map(Object.entries(text.services ?? {}).map(([key, all]) => [key as ServiceKey, admitted(all)])),
    peaks: new Map(Object.entries(text.peaks ?? {})),
    closing: closing === 'all' ? closing : new Set(closing as ServiceKey[]),
  }
}

const domainOf = (cluster: string): TrustDomain => `${cluster}.mesh1` as TrustDomain

/** `http 9080 http`: name, number, protocol. */
function portOf(text: string): ServicePort {
  const [name = '', port, protocol] = text.split(' ')
  return { name, port: Number(port), protocol: protocol as Protocol, declared: true }
}

function sourceOf(text: string, key: string, ports: readonly ServicePort[]): Source {
  const words = text.split(' ')
  const [cluster = '', network, region = '', accounts = '', offered] = words.filter((word) => word !== 'per-cluster')
  return {
    cluster: cluster as ClusterName,
    network: network as NetworkName,
    region,
    trustDomain: domainOf(cluster),
    identities: accounts.split(',').map((sa) => `spiffe://${cluster}.mesh1/ns/${key.split('/')[0]}/sa/${sa}`),
    ports: offered ? offered.split(',').map(Number) : ports.map((p) => p.port),
    ...(words.includes('per-cluster') ? { perCluster: true } : {}),
  }
}

/** `127.20.0.1:15443 down` */
function gatewayOf(text: string): Gateway {
  const [address = '', state] = text.split(' ')
  const [ip = '', port] = address.split(':')
  return { address: ip, port: Number(port), state: (state ?? 'ready') as Gateway['state'] }
}

/** Counts `9080 r1/z1 2/3`; flat `127.20.1.1:9080 9080 r1/z1 [draining] [hostname]`; names `db-0 [away]`. */
function summaryOf(text: SummaryOfService): ServiceSummary {
  const counts = text.counts.map((line): PortCount => {
    const [port, place = '', share = ''] = line.split(' ')
    const [region = '', zone = ''] = place.split('/')
    const [ready, total] = share.split('/').map(Number)
    return { port: Number(port), region, zone, ready: ready ?? 0, total: total ?? 0 }
  })
  const flat = text.flat?.map((line) => {
    const words = line.split(' ')
    const [at = '', servicePort, place = '', hostname] = words.filter((word) => word !== 'draining')
    const [address = '', port] = at.split(':')
    const [region = '', zone = ''] = place.split('/')
    return {
      address,
      port: Number(port),
      servicePort: Number(servicePort),
      region,
      zone,
      draining: words.includes('draining'),
      ...(hostname ? { hostname } : {}),
    }
  })
  const podNames = text.podNames?.map((line) => ({ hostname: line.split(' ')[0] ?? '', ready: !line.includes(' ') }))
  return { counts, ...(flat ? { flat } : {}), ...(podNames ? { podNames } : {}) }
}

function endpointOf(text: CaseText, name: string, pod: PodText, ports: Readonly<Record<string, number>>): Endpoint {
  return {
    address: pod.ip,
    ports,
    health: pod.health ?? 'ready',
    locality: { region: text.region, zone: pod.zone ?? '' },
    network: (text.network ?? `net-${text.cluster}`) as NetworkName,
    pod: name,
    serviceAccount: pod.account,
    meshed: pod.plain !== true,
    ...(pod.hostname ? { hostname: pod.hostname } : {}),
  }
}

const podOf = (name: string, pod: PodText): Pod => ({
  namespace: name.split('/')[0] ?? '',
  name: name.split('/')[1] ?? '',
  ips: [pod.ip],
  serviceAccount: pod.account,
  labels: pod.labels ?? {},
  node: 'node-1',
  meshed: pod.plain !== true,
})
