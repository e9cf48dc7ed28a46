import { compile } from '#mesh/compile/compile.ts'
import { fleet, member, name, offer, port } from '#mesh/compile/testdata/fleet.ts'
import type { Seen, SeenImport, SeenObjects } from '#mesh/mcs/objects.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import { parseMeshName, parseNetworkName, type ServiceKey, serviceKey, trustDomainOf } from '#mesh/model/id.ts'
import type { Service } from '#mesh/model/service.ts'
import type { ServiceSummary, Summaries } from '#mesh/model/summary.ts'
import type { ClusterSetAddresses, OwnCluster, View } from '#mesh/model/view.ts'

export const web = serviceKey('shop', 'web')
export const db = serviceKey('shop', 'db')
export const home = name('home')
const mesh = parseMeshName('mesh1')

export const emptyOwn: OwnCluster = {
  services: new Map(),
  endpoints: new Map(),
  pods: new Map(),
  exports: new Map(),
  refused: new Set(),
  peerAuthentications: [],
}

export const service = (key: ServiceKey, more: Partial<Service> = {}): Service => ({
  ...{ key, ports: [port(80, 'http', 'http')], clusterIps: ['10.96.0.9'], headless: false, origin: 'test' },
  ...more,
})

const webOffer = (more: Partial<ServiceExport> = {}) =>
  offer(web, { ports: [port(80, 'http', 'http'), port(5432, 'tcp', 'db')], ...more })
const dbOffer = offer(db, { ports: [port(5432, 'tcp', 'tcp')], headless: true })

/** `near` shares the network of `home`, `far` does not; both offer `web` and the headless `db`. */
export function configOfHome(
  homeOffers: readonly ServiceExport[] = [],
  webMore: Partial<ServiceExport> = {},
): ClusterConfig {
  const network = parseNetworkName('net-home')
  const config = compile(
    fleet([
      member('home', homeOffers),
      member('near', [webOffer(webMore), dbOffer], { network }),
      member('far', [webOffer(), dbOffer]),
    ]),
  ).get(home)
  if (!config) throw new Error('nothing was compiled')
  return config
}

export const summariesOf = (of: Readonly<Record<string, Readonly<Record<string, ServiceSummary>>>>): Summaries => ({
  services: new Map(Object.entries(of).map(([cluster, services]) => [cluster, new Map(Object.entries(services))])),
  gateways: new Map(),
})

/** What both say of their pods: two behind `web`, one named behind `db`. */
export const heard: Summaries = summariesOf({
  near: {
    [web]: {
      counts: [],
      flat: ['10.2.0.1', '10.2.0.2'].flatMap((address) => [
        { address, port: 8080, servicePort: 80, region: 'r1', zone: 'a', draining: false },
        { address, port: 5432, servicePort: 5432, region: 'r1', zone: 'a', draining: false },
      ]),
    },
    [db]: { counts: [], podNames: [{ hostname: 'db-0', ready: true }], flat: [] },
  },
  far: {
    [web]: { counts: [] },
    [db]: {
      counts: [],
      podNames: [
        { hostname: 'db-0', ready: true },
        { hostname: 'db-1', ready: false },
      ],
    },
  },
})

export const viewOf = (more: Partial<View> & { readonly config?: ClusterConfig } = {}) => ({
  home: {
    ...{ mesh, cluster: home, network: parseNetworkName('net-home'), region: 'r1' },
    trustDomain: trustDomainOf(home, mesh, 1),
    gateways: [],
  },
  own: emptyOwn,
  summaries: heard,
  config: configOfHome(),
  ...more,
})

export const seenOf = (more: Partial<SeenObjects> = {}): SeenObjects => ({
  namespaces: new Set(['shop']),
  exports: new Map(),
  imports: new Map(),
  slices: new Map(),
  policies: new Map(),
  groups: new Map(),
  ...more,
})

/** An object that the relay made before. */
export const ours = (spec: SeenImport['spec'], more: Partial<Seen<SeenImport>> = {}): Seen<SeenImport> => ({
  ...{ uid: 'u1', resourceVersion: '1', isOurs: true, refuses: false, spec, status: { clusters: [], conditions: [] } },
  ...more,
})

export const addresses = (
  of: Readonly<Record<string, ClusterSetAddresses>>,
): ReadonlyMap<ServiceKey, ClusterSetAddresses> => new Map(Object.entries(of) as [ServiceKey, ClusterSetAddresses][])
