import { bounded } from '#mesh/compile/bounded.ts'
import { type Market, marketOf, sameItems } from '#mesh/compile/offer.ts'
import { type ServicePart, selectsAny, servicePart } from '#mesh/compile/service-part.ts'
import type {
  ClusterConfig,
  Condition,
  ExportedService,
  ImportedService,
  TrustFacts,
} from '#mesh/model/cluster-config.ts'
import type { Fleet, IdleObject, Member, SetAside } from '#mesh/model/fleet.ts'
import type { ClusterName, NetworkName, ServiceKey } from '#mesh/model/id.ts'
import { patchedMap } from '#mesh/model/patched-map.ts'
import type { TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { settledGroups, settledPolicies } from '#mesh/policy/settle-sources.ts'

/** What one compile did anew; what it found as it left it is not in here. */
export type Work = {
  /** Services whose imports and exports were compiled. */
  readonly services: number
  /** Different imports that came out of that. */
  readonly imports: number
  /** Configs that are other objects than before. */
  readonly configs: number
}

/** Compiles one fleet after the other and does again only what a change has touched. */
export type Compiler = {
  compile(fleet: Fleet): ReadonlyMap<ClusterName, ClusterConfig>
  /** Of the last compile. */
  work(): Work
}

type State = {
  readonly fleet: Fleet
  readonly market: Market
  readonly parts: ReadonlyMap<ServiceKey, ServicePart>
  readonly configs: ReadonlyMap<ClusterName, ClusterConfig>
  readonly shared: Shared
  readonly told: Told
}

/** What single members are told of their own policies and groups. */
type Told = ReadonlyMap<ClusterName, readonly Condition[]>

/** Parts of the facts of trust that all configs carry. */
type Shared = { readonly roots: readonly string[]; readonly members: TrustFacts['members'] }

/**
 * A compiler that remembers the last fleet. Its result depends on the fleet alone, never on what came before; what a
 * change did not touch is the same object as before, so that whoever comes next may skip it. That holds for as much of
 * the fleet as is the same object itself: members, exports, policies, narrowings, groups, cuts.
 */
export function newCompiler(): Compiler {
  let last: State | undefined
  let work: Work = { services: 0, imports: 0, configs: 0 }
  return {
    compile: (given) => {
      const before = last
      const { fleet, told } = settled(given)
      const market = marketOf(fleet, before?.market)
      const { parts, compiled } = partsOf(market, before)
      const shared = sharedOf(market, before?.shared)
      const networks = Map.groupBy(market.members.values(), (m) => m.network)
      const context = { market, parts, shared, networks, told, moved: movedKeys(parts, before?.parts) }
      const configs = new Map<ClusterName, ClusterConfig>()
      for (const member of market.members.values()) configs.set(member.name, configOf(member, context, before))
      const imports = new Set(compiled.flatMap((part) => [...part.imports.values()]))
      const moved = [...configs].filter(([cluster, config]) => before?.configs.get(cluster) !== config)
      work = { services: compiled.length, imports: imports.size, configs: moved.length }
      last = { fleet, market, parts, configs, shared, told }
      return configs
    },
    work: () => work,
  }
}

/** The fleet with its policies as they count, and who is to hear that his own does not. */
function settled(fleet: Fleet): { readonly fleet: Fleet; readonly told: Told } {
  const policies = settledPolicies(fleet.policies)
  const groups = settledGroups(fleet.groups)
  const told = [
    ...policies.overruled.map(({ one, by }) => overruled(one.origin, `policy ${one.namespace}/${one.name}`, by)),
    ...groups.overruled.map(({ one, by }) => overruled(one.from?.cluster, `group ${one.name}`, by)),
  ]
  const byCluster = Map.groupBy(told, ([cluster]) => cluster as ClusterName)
  return {
    fleet: policies.overruled.length === 0 ? fleet : { ...fleet, policies: policies.items },
    told: new Map([...byCluster].map(([cluster, all]) => [cluster, all.map(([, condition]) => condition)])),
  }
}

const overruled = (cluster: string | undefined, object: string, by: string): [string | undefined, Condition] => [
  cluster,
  {
    type: 'PolicyOverruled',
    reason: 'NameTaken',
    message: `it does not count for other clusters: ${by} has its name; give it another one, or have that one removed`,
    object,
  },
]

/** The parts of all services, in order, and those of them that had to be compiled. */
function partsOf(
  market: Market,
  before: State | undefined,
): { readonly parts: ReadonlyMap<ServiceKey, ServicePart>; readonly compiled: readonly ServicePart[] } {
  const { fleet } = market
  const known = before && samePlaces(market, before.market) && fleet.cuts === before.fleet.cuts ? before : undefined
  const changed = known ? changedPolicies(known.fleet.policies, fleet.policies) : []
  const sameGroups = known !== undefined && known.market.groups === market.groups
  const parts = new Map<ServiceKey, ServicePart>()
  const compiled: ServicePart[] = []
  for (const [key, offers] of market.services) {
    const old = known?.parts.get(key)
    const drains = fleet.serviceDrains?.filter((drain) => drain.key === key) ?? []
    const stands =
      old !== undefined &&
      old.offers === offers &&
      (sameGroups || !old.usesGroups) &&
      !selectsAny(changed, key, offers) &&
      sameDrains(old.drains, drains)
    const part = stands ? old : servicePart(market, key, { drains, before: before?.parts.get(key) })
    parts.set(key, part)
    if (part !== old) compiled.push(part)
  }
  return { parts, compiled }
}

/** Policies that came, went, or are other ones than before. */
function changedPolicies(before: Fleet['policies'] = [], after: Fleet['policies'] = []): readonly TrafficPolicy[] {
  if (sameItems(before, after)) return []
  const [old, now] = [new Set(before), new Set(after)]
  return [...before.filter((one) => !now.has(one)), ...after.filter((one) => !old.has(one))]
}

/** Where members are, and who vouches for them: what every service may depend on. */
function samePlaces(a: Market, b: Market): boolean {
  if (a === b) return true
  if (a.members.size !== b.members.size) return false
  return [...a.members.values()].every((member) => {
    const other = b.members.get(member.name)
    return other !== undefined && samePlace(member, other)
  })
}

const samePlace = (a: Member, b: Member): boolean =>
  a === b ||
  (a.network === b.network &&
    a.region === b.region &&
    a.trustDomain === b.trustDomain &&
    (a.shared ?? false) === (b.shared ?? false))

const sameDrains = (a: ServicePart['drains'], b: ServicePart['drains']): boolean =>
  a.length === b.length &&
  a.every(
    (one, at) => one.cluster === b[at]?.cluster && one.percent === b[at]?.percent && one.closing === b[at]?.closing,
  )

function sharedOf({ fleet, members }: Market, before: Shared | undefined): Shared {
  const roots = [...new Set(fleet.roots)].toSorted()
  const all = [...members.values()].map(({ name, trustDomain }) => ({ cluster: name, trustDomain }))
  const isSame = (one: TrustFacts['members'][number], at: number): boolean =>
    one.cluster === before?.members[at]?.cluster && one.trustDomain === before.members[at]?.trustDomain
  return {
    roots: before && sameItems(before.roots, roots) ? before.roots : roots,
    members: before && before.members.length === all.length && all.every(isSame) ? before.members : all,
  }
}

type Context = {
  readonly market: Market
  readonly parts: ReadonlyMap<ServiceKey, ServicePart>
  /** Services of which a part came, went, or is another than before. */
  readonly moved: readonly ServiceKey[]
  readonly shared: Shared
  readonly told: Told
  readonly networks: ReadonlyMap<NetworkName, readonly Member[]>
}

function movedKeys(now: State['parts'], before: State['parts'] = new Map()): readonly ServiceKey[] {
  const gone = [...before.keys()].filter((key) => !now.has(key))
  return [...gone, ...[...now].filter(([key, part]) => before.get(key) !== part).map(([key]) => key)]
}

/** The config of a member: the one of before, or what differs put into it, or all of it anew. */
function configOf(member: Member, context: Context, before: State | undefined): ClusterConfig {
  const old = before?.configs.get(member.name)
  const oldMember = before?.market.members.get(member.name)
  const trust = trustOf(member, context, old?.trust)
  const isShared = (context.networks.get(member.network)?.length ?? 0) > 1
  const isSame =
    old?.mesh === context.market.fleet.mesh &&
    old.trust === trust &&
    (old.networkShared ?? false) === isShared &&
    oldMember !== undefined &&
    sameTold(context.told.get(member.name), before?.told.get(member.name)) &&
    (oldMember === member || (samePlace(oldMember, member) && sameWishes(oldMember, member)))
  if (before && old && isSame) {
    const patched = patchedConfig(old, member, { before: before.parts, now: context.parts, moved: context.moved })
    if (patched) return patched
  }
  return wholeConfig(member, context, { trust, isShared })
}

/** The config with the services that moved put in; undefined where one came or went, or conditions have to be told. */
function patchedConfig(
  old: ClusterConfig,
  member: Member,
  {
    before,
    now,
    moved,
  }: { readonly before: State['parts']; readonly now: State['parts']; readonly moved: readonly ServiceKey[] },
): ClusterConfig | undefined {
  const imports: [ServiceKey, ImportedService][] = []
  const exports: [ServiceKey, ExportedService][] = []
  for (const key of moved) {
    const [was, is] = [before.get(key), now.get(key)]
    const isRefused = member.refused.has(key)
    const imported = [was, is].map((part) => (isRefused ? undefined : part?.imports.get(member.name)))
    const exported = [was, is].map((part) => part?.exports.get(member.name))
    for (const [left, right] of [imported, exported])
      if (left !== right && (!left || !right || left.conditions.length + right.conditions.length > 0)) return undefined
    const [importedNow, exportedNow] = [imported[1], exported[1]]
    if (importedNow && importedNow !== imported[0]) imports.push([key, importedNow.service])
    if (exportedNow && exportedNow !== exported[0]) exports.push([key, exportedNow.service])
  }
  if (imports.length + exports.length === 0) return old
  return {
    ...old,
    imports: imports.length === 0 ? old.imports : patchedMap(old.imports, new Map(imports)),
    exports: exports.length === 0 ? old.exports : patchedMap(old.exports, new Map(exports)),
  }
}

function wholeConfig(
  member: Member,
  { market, parts, told }: Context,
  { trust, isShared }: { readonly trust: TrustFacts; readonly isShared: boolean },
): ClusterConfig {
  const { name, network, region } = member
  const imports = new Map<ServiceKey, ImportedService>()
  const exports = new Map<ServiceKey, ExportedService>()
  const conditions: Condition[] = [
    ...(member.setAside ?? []).map(setAside),
    ...(member.idle ?? []).map(idle),
    ...(told.get(name) ?? []),
  ]
  for (const [key, part] of parts) {
    const imported = member.refused.has(key) ? undefined : part.imports.get(name)
    if (imported) imports.set(key, imported.service)
    if (imported) conditions.push(...imported.conditions)
    const exported = part.exports.get(name)
    if (exported) exports.set(key, exported.service)
    if (exported) conditions.push(...exported.conditions)
  }
  return {
    ...{ mesh: market.fleet.mesh, cluster: name, network, region },
    ...(isShared ? { networkShared: true as const } : {}),
    ...{ trust, imports, exports, conditions: bounded(conditions) },
  }
}

/** What a member says for itself alone. */
const sameWishes = (a: Member, b: Member): boolean =>
  a.refused.size === b.refused.size &&
  a.refused.isSubsetOf(b.refused) &&
  sameSetAside(a.setAside ?? [], b.setAside ?? []) &&
  sameIdle(a.idle ?? [], b.idle ?? [])

const sameIdle = (a: readonly IdleObject[], b: readonly IdleObject[]): boolean =>
  a.length === b.length &&
  a.every((one, at) => {
    const other = b[at]
    return one.object === other?.object && one.instead === other.instead && sameItems(one.reasons, other.reasons)
  })

const sameTold = (a: readonly Condition[] = [], b: readonly Condition[] = []): boolean =>
  a.length === b.length && a.every((one, at) => one.object === b[at]?.object && one.message === b[at]?.message)

const sameSetAside = (a: readonly SetAside[], b: readonly SetAside[]): boolean =>
  a.length === b.length && a.every((one, at) => one.key === b[at]?.key && one.reason === b[at]?.reason)

function trustOf(member: Member, { market, shared }: Context, old: TrustFacts | undefined): TrustFacts {
  const { trustDomain, issuingBefore, generation } = member
  const cuts = market.fleet.cuts?.length ? portCutsOf(market.fleet, member.name) : {}
  const isSame =
    old?.trustDomain === trustDomain &&
    old.roots === shared.roots &&
    old.members === shared.members &&
    old.issuingBefore === issuingBefore &&
    old.generation === generation &&
    old.shared === member.shared &&
    sameCuts(old.cuts, cuts.cuts)
  if (old && isSame) return old
  return {
    ...{ trustDomain, roots: shared.roots, members: shared.members, ...cuts },
    ...(issuingBefore === undefined ? {} : { issuingBefore }),
    ...(generation === undefined ? {} : { generation }),
    ...(member.shared ? { shared: true as const } : {}),
  }
}

const sameCuts = (a: TrustFacts['cuts'] = [], b: TrustFacts['cuts'] = []): boolean =>
  a.length === b.length && a.every((one, at) => one.port === b[at]?.port && one.cut === b[at]?.cut)

/** The latest revocation by HTTP port, which several services share; without those that none ever touched. */
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

const setAside = ({ key, reason }: SetAside): Condition => ({
  type: 'SetAside',
  reason: 'NotUnderstood',
  message:
    `the item "${key}" of this cluster's report is not understood and counts as never said (${reason}): ` +
    'upgrade the older of relay and centre',
  object: key.includes('/') ? `service ${key.slice(key.indexOf('/') + 1)}` : 'cluster',
})

const idle = ({ object, reasons, instead }: IdleObject): Condition => ({
  type: 'PolicyNotInForce',
  reason: 'Refused',
  message: `it is not in force as it is written: ${reasons.join('; ')}; ${instead}`,
  object,
})
