import { join } from 'node:path'
import { joinCentre } from '#gateway/uplink/join.ts'
import { loadRelayKey } from '#gateway/uplink/membership.ts'
import { openUplink, type Uplink } from '#gateway/uplink/uplink.ts'
import { relayPort } from '#infra/local/plan.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import {
  type BigCluster,
  type ClusterScale,
  largeName,
  nameAt,
  namespace,
  writeBigCluster,
} from '#tests/bench/load/big-cluster.ts'
import type { Dial } from '#tests/bench/load/connection.ts'
import type { Member } from '#tests/bench/load/generator.ts'
import { type Fleet, startFleet } from '#tests/support/fleet.ts'
import { joinTokenOf } from '#tests/support/fleet-centre.ts'
import type { FleetCluster } from '#tests/support/fleet-cluster.ts'
import { silentLog } from '#tests/support/stores.ts'
import { eventually } from '#tests/support/until.ts'

/** The real thing at scale: a centre, the bundled relay of cluster `a` with a large directory, and members that report. */
export type BenchMesh = {
  readonly fleet: Fleet
  readonly cluster: FleetCluster
  readonly shop: BigCluster
  readonly relayPid: () => number
  /** So many proxies of the shop, spread over its services, each with its service's identity. */
  readonly proxies: (count: number) => Promise<Member[]>
  /** One more member that exports these services. */
  readonly addRemote: (name: string, services: readonly string[], endpoints: number) => Promise<void>
  /** Of one of the first members, so many services after those of the last time lose an endpoint, or have it again. */
  readonly stirRemote: (member: number, changes: number) => void
  readonly end: () => Promise<void>
}

export async function startBenchMesh(scale: ClusterScale): Promise<BenchMesh> {
  const fleet = await startFleet({ a: { pods: {} } })
  const uplinks: Uplink[] = []
  const stirs: ((changes: number) => void)[] = []
  const end = async () => {
    for (const uplink of uplinks) uplink.stop()
    await fleet.end()
  }
  try {
    const cluster = fleet.cluster('a')
    const names = [...Array.from({ length: scale.services }, (_, n) => nameAt(n)), largeName]
    const shop = writeBigCluster(join(cluster.dir, 'manifests'), scale)
    const addRemote: BenchMesh['addRemote'] = async (name, services, endpoints) => {
      const dir = join(cluster.dir, '..', name)
      const place = { name, network: name, region: 'eu-west-1' }
      const token = await joinTokenOf(fleet.centre, place)
      const membership = await joinCentre({
        token,
        dir,
        cluster: name,
        network: name,
        region: 'eu-west-1',
        version: '0.1.0',
      })
      const uplink = openUplink({
        ...{ membership, dir, version: '0.1.0', log: silentLog },
        key: loadRelayKey(dir, membership),
        onReceived: () => undefined,
      })
      uplinks.push(uplink)
      uplink.start()
      const items = reportOn(name, services, endpoints)
      uplink.report(items)
      let next = 0
      stirs.push((changes) => {
        for (let n = 0; n < changes; n++, next++) {
          const service = services[next % services.length] ?? ''
          const isLess = Math.floor(next / services.length) % 2 === 0
          items.set(summaryKey(service), summaryOf(isLess ? endpoints - 1 : endpoints, endpoints))
        }
        uplink.report(new Map(items))
      })
    }
    const { remote, remoteServices = names.length, remoteEndpoints = scale.endpoints } = scale
    for (let n = 0; n < remote; n++) await addRemote(`r${n}`, names.slice(0, remoteServices), remoteEndpoints)
    await eventually(120_000, 'the relay knows every service of every cluster', async () => {
      const { centre } = (await cluster.status()) as { centre: { streams: Record<string, number> } }
      return Object.keys(centre.streams).filter((stream) => stream.startsWith('ep/r')).length >= scale.remote
    })
    return {
      ...{ fleet, cluster, shop, addRemote, end },
      stirRemote: (member, changes) => stirs[member]?.(changes),
      relayPid: () => cluster.relayPid(),
      proxies: (count) => membersOf(cluster, shop, names, count),
    }
  } catch (error) {
    console.error(fleet.tails())
    await end()
    throw error
  }
}

/** Each is a certificate that the relay signs: proxies of more services than these would take long to come by. */
const identitiesMax = 300

async function membersOf(
  cluster: FleetCluster,
  shop: BigCluster,
  names: readonly string[],
  count: number,
): Promise<Member[]> {
  const dials: Dial[] = []
  for (const name of names.slice(0, Math.min(count, identitiesMax))) {
    const { key, cert } = await cluster.identity(name)
    dials.push({ host: cluster.relayAddress, port: relayPort, cert, key: String(key) })
  }
  return Array.from({ length: count }, (_, n) => {
    const service = names[n % dials.length] ?? ''
    const pod = Math.floor(n / dials.length)
    const [dial] = [dials[n % dials.length]]
    if (!dial) throw new Error('no identity')
    return {
      dial,
      node: {
        id: `sidecar~${shop.addressOf(service, pod)}~${service}-${pod}.${namespace}~${namespace}.svc.cluster.local`,
        cluster: `${service}.${namespace}`,
        metadata: {
          ...{ NAMESPACE: namespace, SERVICE_ACCOUNT: service, INTERCEPTION_MODE: 'REDIRECT' },
          LABELS: { app: service, version: 'v1' },
          INSTANCE_IPS: shop.addressOf(service, pod),
        },
      },
    }
  })
}

const reportOn = (cluster: string, services: readonly string[], endpoints: number) =>
  new Map<string, Json>([
    ['cluster', { network: cluster, region: 'eu-west-1', relayVersion: '0.1.0', meshSync: meshSyncText }],
    ['gateways', { gateways: [{ address: `127.250.${uplinkNumber(cluster)}.1`, port: 15443, state: 'ready' }] }],
    ...services.flatMap((name): [string, Json][] => [
      [
        `export/${namespace}/${name}`,
        {
          ports: [{ name: 'http', port: 80, protocol: 'http', declared: true }],
          ...{ serviceAccounts: [name], createdAt: 1, headless: false },
        },
      ],
      [summaryKey(name), summaryOf(endpoints, endpoints)],
    ]),
  ])

const summaryKey = (service: string) => `summary/${namespace}/${service}`

const summaryOf = (ready: number, total: number): Json => ({
  counts: [{ port: 80, region: 'eu-west-1', zone: 'eu-west-1a', ready, total }],
})

const uplinkNumber = (cluster: string): number => Number(/\d+$/.exec(cluster)?.[0] ?? 0)
