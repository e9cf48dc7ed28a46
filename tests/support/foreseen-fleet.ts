import type { Sight } from '#mesh/foresee/outlook.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import {
  parseClusterId,
  parseClusterName,
  parseMeshName,
  parseNetworkName,
  serviceKey,
  trustDomainOf,
} from '#mesh/model/id.ts'

/** A fleet in which every service `shop/svc-<n>` is offered by so many clusters, to all. */
export type FleetShape = {
  readonly clusters: number
  readonly services: number
  readonly exporters: number
  /** `region-<n>`, one cluster after the other. */
  readonly regions?: number
  /** The cluster that offers the first service first. */
  readonly first?: number
}

const mesh = parseMeshName('mesh1')
const port = 8080

export function fleetOf({ clusters, services, exporters, regions = 5, first = 0 }: FleetShape): Fleet {
  const names = Array.from({ length: clusters }, (_, n) => parseClusterName(`cluster-${n}`))
  const members = names.map((name, n): Member => {
    const own = Array.from({ length: services }, (_, svc) => svc).filter(
      (svc) => (n + clusters - ((svc + first) % clusters)) % clusters < exporters,
    )
    return {
      ...{ id: parseClusterId('00000000-0000-7000-8000-000000000000'), name, network: parseNetworkName(name) },
      ...{ region: `region-${n % regions}`, trustDomain: trustDomainOf(name, mesh, 1), refused: new Set() },
      exports: new Map(own.map((svc) => [keyAt(svc), exportAt(svc)])),
    }
  })
  return { mesh, roots: ['-----BEGIN CERTIFICATE-----\nbench\n-----END CERTIFICATE-----\n'], members, narrowings: [] }
}

const keyAt = (n: number) => serviceKey('shop', `svc-${n}`)
const exportAt = (n: number) => ({
  key: keyAt(n),
  ports: [{ name: 'http', port, protocol: 'http' as const, declared: true }],
  ...{ serviceAccounts: [`svc-${n}`], createdAt: 1000, headless: false },
})

/** The gateway of a cluster: `10.9.<n>.1:15443`. */
export const gatewayOf = (cluster: string): string => `10.9.${cluster.slice('cluster-'.length)}.1:15443`

/** What is known of such a fleet: so many ready pods of every service in a cluster, and one gateway each. */
export function sightOf({ members }: Fleet, ready: (cluster: string) => number): Sight {
  return {
    services: new Map(
      members.map(({ name, region, exports }) => {
        const counts = [{ port, region, zone: '', ready: ready(name), total: ready(name) }]
        return [name, new Map([...exports.keys()].map((key) => [key, { counts }]))]
      }),
    ),
    gateways: new Map(
      members.map(({ name }) => [
        name,
        { gateways: [{ address: gatewayOf(name).split(':')[0] ?? '', port: 15443, state: 'ready' as const }] },
      ]),
    ),
  }
}
