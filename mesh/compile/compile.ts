import { bounded } from '#mesh/compile/bounded.ts'
import { conflictsFrom } from '#mesh/compile/conflicts.ts'
import { mayUse } from '#mesh/compile/consumers.ts'
import { type Import, importsFrom } from '#mesh/compile/imports.ts'
import { compareText, type Market, marketOf, type Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import { unconfinedOf } from '#mesh/compile/unconfined.ts'
import type {
  ClusterConfig,
  Condition,
  ExportedService,
  ImportedService,
  TrustFacts,
} from '#mesh/model/cluster-config.ts'
import type { Fleet, Member, SetAside } from '#mesh/model/fleet.ts'
import { hostOf } from '#mesh/model/host.ts'
import type { ClusterName, NetworkName, ServiceKey } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * The config of every member, by cluster name in order. Pure: equal fleets, in whatever order, give equal configs, and
 * parts that several clusters share are the same objects.
 *
 * A config names nothing that is not exported to its cluster: no service, source, identity or condition about it. What
 * an exporter and an importer disagree on, or a list that names nobody, is a condition in the config of the cluster that
 * can mend it. Throws `internal` where two members carry one name.
 */
export function compile(fleet: Fleet): ReadonlyMap<ClusterName, ClusterConfig> {
  const market = marketOf(fleet)
  const configOf = compilerOf(market)
  return new Map([...market.members.values()].map((member) => [member.name, configOf(member)]))
}

/** The config of one member, as `compile` gives it. Throws `not-found` where the fleet has no such member. */
export function compileOne(fleet: Fleet, cluster: ClusterName): ClusterConfig {
  const market = marketOf(fleet)
  const member = market.members.get(cluster)
  if (!member) throw new Problem('not-found', `mesh "${fleet.mesh}" has no cluster "${cluster}"`)
  return compilerOf(market)(member)
}

function compilerOf(market: Market): (member: Member) => ClusterConfig {
  const importOf = importsFrom(market)
  const conflictsOf = conflictsFrom(market)
  const { fleet } = market
  const roots = [...new Set(fleet.roots)].toSorted()
  const members = [...market.members.values()].map(({ name, trustDomain }) => ({ cluster: name, trustDomain }))
  const networks = Map.groupBy(market.members.values(), ({ network }) => network)
  const onNetwork = (network: NetworkName): number => networks.get(network)?.length ?? 0
  return (member) => {
    const own = [...member.exports.keys()].toSorted(compareText).flatMap((key) => ownOffer(market, member, key))
    const imports = importsOf(market, member, importOf)
    const conditions = [
      ...(member.setAside ?? []).map(setAside),
      ...imports.conditions,
      ...own.flatMap((o) => [...o.conditions, ...unconfinedOf(market, o), ...conflictsOf(member.name, o.export.key)]),
    ]
    return {
      mesh: fleet.mesh,
      cluster: member.name,
      network: member.network,
      region: member.region,
      ...(onNetwork(member.network) > 1 ? { networkShared: true as const } : {}),
      trust: {
        ...{ trustDomain: member.trustDomain, roots, members, ...portCutsOf(fleet, member.name) },
        ...(member.issuingBefore === undefined ? {} : { issuingBefore: member.issuingBefore }),
        ...(member.generation === undefined ? {} : { generation: member.generation }),
        ...(member.shared ? { shared: true as const } : {}),
      },
      imports: imports.services,
      exports: new Map(own.map((offer) => [offer.export.key, exportedService(market, offer)])),
      conditions: bounded(conditions),
    }
  }
}

const ownOffer = (market: Market, member: Member, key: ServiceKey): Offer[] =>
  (market.services.get(key) ?? []).filter((offer) => offer.member.name === member.name)

/** Services in order, those that the member refuses left out. */
function importsOf(
  market: Market,
  member: Member,
  importOf: (home: Member, key: ServiceKey) => Import | undefined,
): { readonly services: ReadonlyMap<ServiceKey, ImportedService>; readonly conditions: readonly Condition[] } {
  const services = new Map<ServiceKey, ImportedService>()
  const conditions: Condition[] = []
  for (const key of market.services.keys()) {
    const found = member.refused.has(key) ? undefined : importOf(member, key)
    if (!found) continue
    const { service } = found
    const cut = callerCutOf(market.fleet, `${member.name}:${key}`)
    services.set(key, cut > 0 ? { ...service, cut } : service)
    conditions.push(...found.conditions)
  }
  return { services, conditions }
}

/**
 * What the exporter's own gateway and pods need. An export without identities is here too, so that its gateway and pods
 * admit its consumers before the first of them is told where to call. A port number listed twice is there once: it names
 * an SNI, and a gateway with one SNI on two chains is refused whole.
 */
function exportedService(market: Market, offer: Offer): ExportedService {
  const { member, export: offered } = offer
  const consumers = market.names.filter((name) => name !== member.name && mayUse(name, member.name, offer.consumers))
  const domains = consumers.flatMap((name) => market.members.get(name)?.trustDomain ?? [])
  const cut = cutOf(market.fleet, `${member.name}/${offered.key}`)
  return {
    key: offered.key,
    host: hostOf(offered.key),
    ports: settlePorts(member.name, [offer]).ports,
    consumers,
    admitted: [...new Set(domains)].filter((domain) => domain !== member.trustDomain).toSorted(),
    ...(offer.foreign.length > 0 ? { foreign: offer.foreign } : {}),
    ...(cut > 0 ? { cut } : {}),
  }
}

/** The latest revocation that ends what a caller has open; 0 = none ever. */
const callerCutOf = ({ cuts = [] }: Fleet, call: string): number =>
  Math.max(0, ...cuts.filter(({ callers }) => callers?.has(call)).map(({ cut }) => cut))

/** The same by HTTP port, which several services share; without those that no revocation ever touched. */
function portCutsOf({ cuts = [] }: Fleet, cluster: ClusterName): Pick<TrustFacts, 'cuts'> {
  const found = new Map<number, number>()
  for (const { cut, callers = [] } of cuts)
    for (const call of callers) {
      const [caller, port] = call.split(':')
      if (caller === cluster && /^[0-9]+$/.test(port ?? ''))
        found.set(Number(port), Math.max(cut, found.get(Number(port)) ?? 0))
    }
  if (found.size === 0) return {}
  return { cuts: [...found].toSorted(([a], [b]) => a - b).map(([port, cut]) => ({ port, cut })) }
}

/** The latest revocation that ends what is open on an export; 0 = none ever. */
const cutOf = ({ cuts = [] }: Fleet, exported: string): number =>
  Math.max(0, ...cuts.filter(({ exports }) => exports.has(exported)).map(({ cut }) => cut))

const setAside = ({ key, reason }: SetAside): Condition => ({
  type: 'SetAside',
  reason: 'NotUnderstood',
  message:
    `the item "${key}" of this cluster's report is not understood and counts as never said (${reason}): ` +
    'upgrade the older of relay and centre',
  object: key.includes('/') ? `service ${key.slice(key.indexOf('/') + 1)}` : 'cluster',
})
