import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { ClusterConfig, Condition } from '#mesh/model/cluster-config.ts'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { clusterSetHostOf } from '#mesh/model/host.ts'
import { partsOf, type ServiceKey } from '#mesh/model/id.ts'
import { podNamesMax, podNamesOf } from '#mesh/model/pod-name.ts'
import type { Service } from '#mesh/model/service.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { FlatEndpoint, PortCount, ServiceSummary } from '#mesh/model/summary.ts'
import type { Home, OwnCluster, OwnExport, OwnPolicyObject } from '#mesh/model/view.ts'
import { countedObjects, exportSchema, objectLimits, reportKeys } from '#mesh/wire/report.ts'
import { meshSyncText } from '#mesh/wire/version.ts'

type Item = { readonly [field: string]: Json | undefined }

/** All that the centre is to know of this cluster, by key of mesh/wire/report, and what its users should be told. */
export type Report = { readonly items: ReadonlyMap<string, Item>; readonly conditions: readonly Condition[] }

export type ReportFacts = {
  readonly own: OwnCluster
  readonly home: Home
  readonly relayVersion: string
  /** True where another cluster shares the network: only then pod addresses leave this one. */
  readonly flat: boolean
  /** The items of the report before. */
  readonly previous?: ReadonlyMap<string, Json>
  /** The config in force: what was last known of the own identities by a relay that has just started. */
  readonly config?: ClusterConfig
}

/**
 * The report of one cluster. Pure: equal facts give equal bytes. Only exported services are named, only meshed pods
 * count. The service accounts behind an export never empty while its pods are away: those told before stay, so that
 * callers know whom to trust the moment the first pod is back.
 */
export function reportOf(facts: ReportFacts): Report {
  const { own, home, relayVersion } = facts
  const items = new Map<string, Item>()
  const conditions: Condition[] = []
  const { network, region } = home
  items.set(reportKeys.cluster, { network, region, relayVersion, meshSync: meshSyncText })
  items.set(reportKeys.gateways, {
    gateways: home.gateways.map(({ address, port, state }) => ({ address, port, state })),
  })
  for (const exported of [...own.exports.values()].toSorted((a, b) => compare(a.key, b.key))) {
    const service = own.services.get(exported.key)
    if (service === undefined) {
      conditions.push(noService(exported))
      continue
    }
    const part = partOf(exported, service, facts)
    items.set(reportKeys.export(exported.key), part.exported)
    items.set(reportKeys.summary(exported.key), part.summary)
    conditions.push(...part.conditions)
  }
  conditions.push(...ownPodsOnly(facts))
  for (const key of [...own.refused].toSorted(compare)) items.set(reportKeys.refuse(key), {})
  const objects = own.trafficObjects ?? []
  const counted = countedObjects(objects.map((one) => ({ key: keyOf(one), ...saidOf(one) })))
  for (const { key, said } of counted) items.set(key, said)
  if (counted.length < objects.length) conditions.push(tooManyObjects(objects.length, counted.length))
  if (own.unreadFiles) items.set(reportKeys.unread, { files: own.unreadFiles })
  return { items, conditions }
}

const keyOf = (object: OwnPolicyObject): string =>
  object.kind === 'SamenessGroup' ? reportKeys.group(object.name) : reportKeys.policy(object)

/** The same object says the same item, which is hashed once. */
const saidItems = new WeakMap<OwnPolicyObject, { readonly said: Item; readonly bytes: number }>()

function saidOf(object: OwnPolicyObject): { readonly said: Item; readonly bytes: number } {
  const known = saidItems.get(object)
  if (known) return known
  const said = 'fault' in object ? { fault: object.fault } : { spec: object.spec as Json }
  const made = { said, bytes: Buffer.byteLength(canonicalJson(said)) }
  saidItems.set(object, made)
  return made
}

const tooManyObjects = (all: number, counted: number): Condition => ({
  type: 'TooManyPolicies',
  reason: 'Bound',
  message:
    `of ${all} policies and groups among its objects the first ${counted} by name count (at most ${objectLimits.count}, ` +
    `${objectLimits.bytes / 1024} KiB together): remove some, or have them written at the centre`,
  object: 'cluster',
})

/** What is said of one exported service. */
type Part = { readonly exported: Item; readonly summary: Item; readonly conditions: readonly Condition[] }

/** Parts by the endpoints they were made from, with all else that went in: the same facts give the same objects. */
const parts = new WeakMap<readonly Endpoint[], { readonly from: readonly unknown[]; readonly part: Part }>()

function partOf(exported: OwnExport, service: Service, facts: ReportFacts): Part {
  const { own, home, flat } = facts
  const endpoints = own.endpoints.get(exported.key) ?? []
  const from = [exported, service, home.cluster, home.network, flat]
  const known = parts.get(endpoints)
  if (known?.from.every((one, at) => one === from[at])) return known.part
  const accounts = accountsOf(exported.key, endpoints, facts)
  const part = {
    exported: exportItem(exported, service, accounts),
    summary: { ...summaryOf(service, endpoints, facts) },
    conditions: [
      ...conditionsOf(service, endpoints, accounts),
      ...unnamedPods(service, endpoints, home),
      ...(flat ? cutOf(service, endpoints, home) : []),
    ],
  }
  // Without pods of its own the accounts come from what was told before.
  if (seenAccounts(endpoints).length > 0) parts.set(endpoints, { from, part })
  return part
}

/** Bounds of the wire: past them an item is refused whole, so the rest is left out here and said. */
const accountsMax = 100
const flatMax = 400
/** A hostname with each. */
const flatHeadlessMax = 200
const countsMax = 500

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const exportItem = (exported: OwnExport, service: Service, accounts: readonly string[]): Item => ({
  ports: service.ports.map(({ name, port, protocol, declared }) => ({ name, port, protocol, declared })),
  serviceAccounts: accounts.slice(0, accountsMax),
  ...(exported.consumers ? { consumers: exported.consumers } : {}),
  createdAt: exported.createdAt,
  headless: service.headless,
  ...(exported.perCluster ? { perCluster: true } : {}),
  ...(service.labels ? { labels: service.labels } : {}),
  ...(service.sticky ? { sticky: true } : {}),
})

const seenAccounts = (endpoints: readonly Endpoint[]): readonly string[] =>
  [...new Set(endpoints.filter((e) => e.meshed && e.serviceAccount !== '').map((e) => e.serviceAccount))].toSorted()

function accountsOf(key: ServiceKey, endpoints: readonly Endpoint[], facts: ReportFacts): readonly string[] {
  const seen = seenAccounts(endpoints)
  if (seen.length > 0) return seen
  const told = exportSchema.safeParse(facts.previous?.get(reportKeys.export(key)))
  if (told.success && told.data.serviceAccounts.length > 0) return told.data.serviceAccounts
  const source = facts.config?.imports.get(key)?.sources.find((s) => s.cluster === facts.home.cluster)
  const prefix = `spiffe://${facts.home.trustDomain}/ns/${partsOf(key).namespace}/sa/`
  return (source?.identities ?? []).filter((id) => id.startsWith(prefix)).map((id) => id.slice(prefix.length))
}

/** Ready and all meshed endpoints per port and locality, and their addresses for neighbours of the same network. */
export function summaryOf(
  service: Service,
  endpoints: readonly Endpoint[],
  { home, flat }: Pick<ReportFacts, 'home' | 'flat'>,
): ServiceSummary {
  const behind = endpoints.filter((endpoint) => endpoint.meshed)
  const counts = countsOf(service, behind)
  const { names } = podsNamed(service, endpoints, home)
  const summary = {
    counts: counts.length <= countsMax ? counts : countsOf(service, behind.map(withoutZone)),
    ...(names.length > 0 ? { podNames: names } : {}),
  }
  return flat ? { ...summary, flat: flatOf(service, behind, home).flatMap(({ kept }) => kept) } : summary
}

/** None where the service is not headless: its pods stand for one another. */
const podsNamed = (service: Service, endpoints: readonly Endpoint[], { cluster }: Home) =>
  podNamesOf({ key: service.key, cluster }, service.headless ? endpoints.filter((e) => e.meshed) : [])

const withoutZone = (e: Endpoint): Endpoint => ({ ...e, locality: { ...e.locality, zone: '' } })

function countsOf(service: Service, endpoints: readonly Endpoint[]): PortCount[] {
  const counts = new Map<string, PortCount>()
  for (const { port, name } of service.ports)
    for (const { ports, locality, health } of endpoints) {
      if (ports[name] === undefined) continue
      const { region, zone } = locality
      const key = `${port} ${region} ${zone}`
      const old = counts.get(key) ?? { port, region, zone, ready: 0, total: 0 }
      counts.set(key, { ...old, ready: old.ready + (health === 'ready' ? 1 : 0), total: old.total + 1 })
    }
  return [...counts.values()].toSorted(
    (a, b) => a.port - b.port || compare(a.region, b.region) || compare(a.zone, b.zone),
  )
}

/**
 * Per service port, in order: addresses that neighbours may dial, those kept and how many there are. What the wire holds
 * is shared out evenly between ports that have any, so that none of them is without a road; ready ones are kept first.
 */
function flatOf(service: Service, endpoints: readonly Endpoint[], home: Home): readonly FlatPort[] {
  const near = endpoints.filter((e) => e.meshed && e.health !== 'not-ready' && e.network === home.network)
  const named = new Set<string | undefined>(podsNamed(service, endpoints, home).names.map(({ hostname }) => hostname))
  const all = service.ports
    .map(({ port: servicePort, name }) => ({
      port: servicePort,
      found: near.flatMap(({ address, ports, locality, health, hostname }) => {
        const port = ports[name]
        const { region, zone } = locality
        if (port === undefined) return []
        const called = hostname !== undefined && named.has(hostname) ? { hostname } : {}
        return [{ address, port, servicePort, region, zone, draining: health === 'draining', ...called }]
      }),
    }))
    .filter(({ found }) => found.length > 0)
    .toSorted((a, b) => a.port - b.port)
  const share = Math.max(1, Math.floor((service.headless ? flatHeadlessMax : flatMax) / all.length))
  return all.map(({ port, found }) => {
    const first = found.toSorted((a, b) => Number(a.draining) - Number(b.draining) || compare(a.address, b.address))
    return { port, kept: first.slice(0, share).toSorted((a, b) => compare(a.address, b.address)), total: found.length }
  })
}

type FlatPort = { readonly port: number; readonly kept: readonly FlatEndpoint[]; readonly total: number }

function cutOf(service: Service, endpoints: readonly Endpoint[], home: Home): Condition[] {
  const cut = flatOf(service, endpoints, home).filter(({ kept, total }) => kept.length < total)
  if (cut.length === 0) return []
  const parts = cut.map(({ port, kept, total }) => `${kept.length} of ${total} on port ${port}`)
  return [
    {
      type: 'TooManyEndpoints',
      reason: 'Bound',
      message:
        `clusters of network "${home.network}" dial only some of its pods (${someOf(parts)}): ` +
        'offer fewer ports, or give those clusters a network of their own, so that they come through the gateways',
      object: `service ${service.key}`,
    },
  ]
}

function unnamedPods(service: Service, endpoints: readonly Endpoint[], home: Home): Condition[] {
  const { left } = podsNamed(service, endpoints, home)
  if (left.length === 0) return []
  const message =
    `other clusters cannot call ${someOf(left)} by name: at most ${podNamesMax} pods of a headless service are named, ` +
    'and together with service, namespace and cluster a name must fit into 236 characters'
  return [{ type: 'PodsWithoutName', reason: 'Bound', message, object: `service ${service.key}` }]
}

/**
 * Own Services whose name other clusters offer too, while this cluster offers none: the plain name stays with the own pods.
 * That names are merged only here and there surprises whoever is not told.
 */
function ownPodsOnly({ own, home, config }: ReportFacts): Condition[] {
  const imports = [...(config?.imports.values() ?? [])].toSorted((a, b) => compare(a.key, b.key))
  return imports.flatMap(({ key, host, sources }) => {
    const others = sources.map((source) => source.cluster).filter((cluster) => cluster !== home.cluster)
    const service = own.services.get(key)
    const isJoined = own.exports.has(key) && !service?.headless
    if (others.length === 0 || !service || isJoined || own.refused.has(key)) return []
    const remedy = service.headless ? ', since it is headless here' : ', or export it here as well, to reach all'
    const message =
      `${host} reaches only the pods of this cluster, though ${someOf(others)} ${others.length === 1 ? 'offers' : 'offer'} ` +
      `the service too: call ${clusterSetHostOf(key)}${remedy}`
    const reason = service.headless ? 'HeadlessHere' : 'NotExportedHere'
    return [{ type: 'OwnPodsOnly', reason, message, object: `service ${key}` }]
  })
}

const noService = (exported: OwnExport): Condition => ({
  type: 'NoService',
  reason: 'ServiceMissing',
  message: `${exported.origin} exports a Service that does not exist here: create it, or remove the ServiceExport`,
  object: `service ${exported.key}`,
})

function conditionsOf(service: Service, endpoints: readonly Endpoint[], accounts: readonly string[]): Condition[] {
  const object = `service ${service.key}`
  const bare = endpoints.filter((e) => !e.meshed).map((e) => e.pod || e.address)
  const unsaid = service.ports.filter((p) => !p.declared).map((p) => p.port)
  const conditions: Condition[] = []
  if (bare.length > 0)
    conditions.push({
      type: 'NotMeshed',
      reason: 'PodsWithoutProxy',
      message:
        `${someOf([...new Set(bare)])} stand behind it without a proxy and are not offered to other clusters: ` +
        'give them one and the label security.istio.io/tlsMode=istio',
      object,
    })
  if (unsaid.length > 0)
    conditions.push({
      type: 'ProtocolNotDeclared',
      reason: 'OpaqueTcp',
      message: `port ${someOf(unsaid)} (${service.origin}) says no protocol and is carried as opaque TCP: set appProtocol`,
      object,
    })
  if (accounts.length > accountsMax)
    conditions.push({
      type: 'TooManyIdentities',
      reason: 'Bound',
      message: `${accounts.length} service accounts stand behind it; only the first ${accountsMax} are accepted by callers`,
      object,
    })
  return conditions
}
