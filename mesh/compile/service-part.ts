import { conflictsFrom } from '#mesh/compile/conflicts.ts'
import { mayUse } from '#mesh/compile/consumers.ts'
import { type Import, importsOf } from '#mesh/compile/imports.ts'
import type { Market, Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import { unconfinedOf } from '#mesh/compile/unconfined.ts'
import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { Condition, ExportedService } from '#mesh/model/cluster-config.ts'
import type { Fleet, ServiceDrain } from '#mesh/model/fleet.ts'
import { hostOf } from '#mesh/model/host.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { isMeshWide, policyFor, selects } from '#mesh/policy/rank-policies.ts'

/** A service as its exporter's gateway and pods serve it, and what that cluster should be told about it. */
export type Export = { readonly service: ExportedService; readonly conditions: readonly Condition[] }

/** All that one service is in all configs, and what it was made from. */
export type ServicePart = {
  readonly offers: readonly Offer[]
  readonly drains: readonly ServiceDrain[]
  /** True where a policy for it names a group. */
  readonly usesGroups: boolean
  /** By the cluster that may call it. */
  readonly imports: ReadonlyMap<ClusterName, Import>
  /** By the cluster that offers it. */
  readonly exports: ReadonlyMap<ClusterName, Export>
}

const labelsOf = ([oldest]: readonly Offer[]): Readonly<Record<string, string>> => oldest?.export.labels ?? {}

/** True where one of the policies is for the service. */
export const selectsAny = (policies: readonly TrafficPolicy[], key: ServiceKey, offers: readonly Offer[]): boolean =>
  policies.some((policy) => selects(policy, key, labelsOf(offers)))

/** Compiles one service for all members. What comes out as it was in `before` is the object of before. */
export function servicePart(
  market: Market,
  key: ServiceKey,
  { drains, before }: { readonly drains: readonly ServiceDrain[]; readonly before: ServicePart | undefined },
): ServicePart {
  const offers = market.services.get(key) ?? []
  const policies = policiesFor(market.fleet, key, offers)
  const policyOf = (home: ClusterName) => policies.get(home) ?? policies.get('')
  const imports = importsOf(market, { key, offers, drains, policyOf, meshPolicy: policies.get('') })
  const conflictsOf = conflictsFrom(market)
  const exports = offers.map((offer): [ClusterName, Export] => {
    const conditions = [...offer.conditions, ...unconfinedOf(market, offer), ...conflictsOf(offer.member.name, key)]
    return [offer.member.name, { service: exportedService(market, offer, drains), conditions }]
  })
  return {
    ...{ offers, drains },
    usesGroups: [...policies.values()].some((policy) => policy && namesGroup(policy)),
    imports: reused(withCuts(market.fleet, key, imports), before?.imports),
    exports: reused(new Map(exports), before?.exports),
  }
}

const namesGroup = ({ spec }: TrafficPolicy): boolean =>
  spec.tiers?.some(({ targets }) => targets.some((target) => 'group' in target)) ?? false

/** The policy in force by the caller's cluster, where that has policies of its own; '' = all others. */
function policiesFor(
  { policies: all = [] }: Fleet,
  key: ServiceKey,
  offers: readonly Offer[],
): ReadonlyMap<ClusterName | '', TrafficPolicy | undefined> {
  const labels = labelsOf(offers)
  // Each member may have a hundred: they are looked at once for a service, and not once for each of them.
  const policies = all.filter((policy) => selects(policy, key, labels))
  const origins = new Set(policies.flatMap(({ origin }) => (origin === 'api' ? [] : [origin])))
  const found = new Map<ClusterName | '', TrafficPolicy | undefined>([
    ['', policyFor(key, labels, undefined, policies)],
  ])
  const [mesh, own] = [policies.filter(isMeshWide), Map.groupBy(policies, ({ origin }) => origin)]
  for (const origin of origins) {
    const theirs = (own.get(origin) ?? []).filter((policy) => !isMeshWide(policy))
    found.set(origin, policyFor(key, labels, origin, [...mesh, ...theirs]))
  }
  return found
}

/**
 * What the exporter's own gateway and pods need. An export without identities is here too, so that its gateway and pods
 * admit its consumers before the first of them is told where to call. A port number listed twice is there once: it names
 * an SNI, and a gateway with one SNI on two chains is refused whole.
 */
function exportedService(market: Market, offer: Offer, drains: readonly ServiceDrain[]): ExportedService {
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
    ...(drains.some(({ cluster, closing }) => cluster === member.name && closing) ? { closing: true as const } : {}),
  }
}

/** The latest revocation that ends what is open on an export; 0 = none ever. */
const cutOf = ({ cuts = [] }: Fleet, exported: string): number =>
  Math.max(0, ...cuts.filter(({ exports }) => exports.has(exported)).map(({ cut }) => cut))

/** The latest revocation that ends what a caller has open; 0 = none ever. */
const callerCutOf = ({ cuts = [] }: Fleet, call: string): number =>
  Math.max(0, ...cuts.filter(({ callers }) => callers?.has(call)).map(({ cut }) => cut))

function withCuts(
  fleet: Fleet,
  key: ServiceKey,
  imports: ReadonlyMap<ClusterName, Import>,
): ReadonlyMap<ClusterName, Import> {
  if (!fleet.cuts?.length) return imports
  return new Map(
    [...imports].map(([caller, found]) => {
      const cut = callerCutOf(fleet, `${caller}:${key}`)
      return [caller, cut > 0 ? { ...found, service: { ...found.service, cut } } : found]
    }),
  )
}

const texts = new WeakMap<object, string>()

function textOf(part: Import | Export): string {
  const known = texts.get(part) ?? canonicalJson(part as unknown as Json)
  texts.set(part, known)
  return known
}

function reused<T extends Import | Export>(
  now: ReadonlyMap<ClusterName, T>,
  before: ReadonlyMap<ClusterName, T> | undefined,
): ReadonlyMap<ClusterName, T> {
  if (!before) return now
  return new Map(
    [...now].map(([cluster, part]) => {
      const old = before.get(cluster)
      return [cluster, old && textOf(old) === textOf(part) ? old : part]
    }),
  )
}
