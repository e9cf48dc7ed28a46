import fc from 'fast-check'
import { foreignConsumer } from '#mesh/compile/consumers.ts'
import type { ServiceExport } from '#mesh/model/export.ts'
import type { ExportNarrowing, Fleet, Member } from '#mesh/model/fleet.ts'
import {
  type ClusterName,
  parseClusterId,
  parseClusterName,
  parseMeshName,
  parseNetworkName,
  partsOf,
  type ServiceKey,
  serviceKey,
  trustDomainOf,
} from '#mesh/model/id.ts'
import type { Protocol, ServicePort } from '#mesh/model/service.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

export const mesh = parseMeshName('mesh1')
export const name = parseClusterName
export const names = (...all: string[]): ClusterName[] => all.map(name)
export const reviews = serviceKey('bookinfo', 'reviews')
export const ratings = serviceKey('bookinfo', 'ratings')

export const port = (number: number, protocol: Protocol = 'http', called = `${protocol}-${number}`): ServicePort => ({
  name: called,
  port: number,
  protocol,
  declared: true,
})

export const offer = (key: ServiceKey, more: Partial<ServiceExport> = {}): ServiceExport => ({
  key,
  ports: [port(9080)],
  serviceAccounts: [partsOf(key).name],
  createdAt: 1000,
  headless: false,
  ...more,
})

export const member = (
  cluster: string,
  exports: readonly ServiceExport[] = [],
  more: Partial<Member> = {},
): Member => ({
  id: parseClusterId('00000000-0000-7000-8000-000000000000'),
  name: name(cluster),
  network: parseNetworkName(`net-${cluster}`),
  region: 'r1',
  trustDomain: trustDomainOf(name(cluster), mesh, 1),
  exports: new Map(exports.map((e) => [e.key, e])),
  refused: new Set(),
  ...more,
})

export const fleet = (members: readonly Member[], narrowings: readonly ExportNarrowing[] = []): Fleet => ({
  mesh,
  roots: ['-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n'],
  members,
  narrowings,
})

/** Names that no other name, word or key contains, so that a search of JSON text finds exactly what was named. */
const clusterNames = ['qalpha', 'qbravo', 'qcharly', 'qdelta', 'qecho'].map(name)
const keys = ['zsvcone', 'zsvctwo', 'zsvcthree'].map((svc) => serviceKey('shop', svc))

const anyPort = fc
  .record({
    port: fc.constantFrom(80, 81, 90),
    protocol: fc.constantFrom<Protocol>('http', 'tcp', 'grpc'),
    name: fc.constantFrom('', 'web', 'data'),
  })
  .map((p): ServicePort => ({ ...p, declared: true }))

/** Another mesh, which consumers may name and a fleet may have federated. */
export const partner = parseTrustDomain('partner.example')
const otherConsumers = ['nobody', 'group/prod', foreignConsumer(partner)] as ClusterName[]
const anyConsumers = fc.subarray([...clusterNames, ...otherConsumers])

const anyExport = (cluster: ClusterName, key: ServiceKey): fc.Arbitrary<ServiceExport> =>
  fc
    .record({
      ports: fc.array(anyPort, { maxLength: 3 }),
      accounts: fc.array(fc.constantFrom('one', 'two', 'Not A Name'), { maxLength: 2 }),
      consumers: fc.option(anyConsumers, { nil: undefined }),
      createdAt: fc.integer({ min: 1, max: 4 }),
      perCluster: fc.boolean(),
      headless: fc.boolean(),
      sticky: fc.boolean(),
    })
    .map(({ ports, accounts, consumers, createdAt, perCluster, headless, sticky }) => ({
      key,
      ports,
      serviceAccounts: [...new Set(accounts)].map((a) => (a.includes(' ') ? a : `sa-${a}-of-${cluster}`)),
      ...(consumers ? { consumers } : {}),
      ...(perCluster ? { perCluster } : {}),
      ...(sticky ? { sticky } : {}),
      createdAt,
      headless,
    }))

const anyMember = (cluster: ClusterName): fc.Arbitrary<Member> =>
  fc
    .record({
      exports: fc.tuple(...keys.map((key) => fc.option(anyExport(cluster, key), { nil: undefined }))),
      refused: fc.subarray(keys),
      region: fc.constantFrom('', 'r1', 'r2'),
    })
    .map(({ exports, refused, region }) =>
      member(
        cluster,
        exports.filter((e) => e !== undefined),
        { refused: new Set(refused), region },
      ),
    )

const anyNarrowing: fc.Arbitrary<ExportNarrowing> = fc
  .record({
    key: fc.constantFrom(...keys),
    cluster: fc.option(fc.constantFrom(...clusterNames), { nil: undefined }),
    consumers: anyConsumers,
  })
  .map(({ key, cluster, consumers }) => ({ key, consumers, ...(cluster ? { cluster } : {}) }))

/** Fleets of up to five clusters and three services that agree and disagree in every way. */
export const anyFleet: fc.Arbitrary<Fleet> = fc
  .tuple(
    fc.tuple(...clusterNames.map(anyMember)),
    fc.integer({ min: 1, max: 5 }),
    fc.array(anyNarrowing, { maxLength: 2 }),
  )
  .map(([members, count, narrowings]) => fleet(members.slice(0, count), narrowings))
