import type { ClusterConfig, ExportedService, ImportedService, Source, TrustFacts } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { isHttp } from '#mesh/model/service.ts'
import type { DeniedId, RevokedDomain } from '#mesh/model/trust-bundle.ts'
import type { View } from '#mesh/model/view.ts'
import type { Memo } from '#mesh/translate/memo.ts'

/**
 * The view without whom the bundle says nobody may trust any more: a revocation acts as soon as it was heard, and the
 * config that the centre compiles afterwards says the same. Members, sources and admitted domains go; an import without
 * a source goes. What has connections open to or from whom was revoked takes the number of the revocation as its `cut`.
 *
 * A bundle takes away and never adds: what it says nothing about keeps its identity.
 */
export function trustedView(view: View, memo: Memo): View {
  const { bundle } = view
  if (bundle === undefined) return view
  return memo.keep('trusted view', [view], () => {
    const news = memo.data<News>('news of trust', [bundle], () => ({
      revoked: [...bundle.revoked, ...(bundle.unfederated ?? [])],
      denied: bundle.denied,
    }))
    const { config } = view
    if (config === undefined) return view
    const pruned = memo.keep('trusted config', [config, news], () => trusted(config, news))
    return pruned === config ? view : { ...view, config: pruned }
  })
}

/** `revoked`: foreign domains that were taken out again as well. */
type News = { readonly revoked: readonly Gone[]; readonly denied: readonly DeniedId[] }
type Gone = Pick<RevokedDomain, 'trustDomain' | 'cut'>

function trusted(config: ClusterConfig, { revoked, denied }: News): ClusterConfig {
  if (revoked.length === 0 && denied.length === 0) return config
  const gone: ByDomain = new Map(revoked.map((one) => [one.trustDomain, one]))
  const refused = new Map<string, number>(denied.map(({ id, cut }) => [id, cut]))
  const trust = trustWithout(config, gone, refused)
  const lost = new Set(config.trust.members.filter((m) => gone.has(m.trustDomain)).map((m) => m.cluster))
  const imports = eachOf(config.imports, (service) => importWithout(service, gone, refused))
  const exports = eachOf(config.exports, (service) => exportWithout(service, gone, lost))
  const isSame = trust === config.trust && imports === config.imports && exports === config.exports
  return isSame ? config : { ...config, trust, imports, exports }
}

type ByDomain = ReadonlyMap<string, Gone>

type Refused = ReadonlyMap<string, number>

function trustWithout({ trust, imports }: ClusterConfig, gone: ByDomain, refused: Refused): TrustFacts {
  const members = without(trust.members, (member) => gone.has(member.trustDomain))
  const cuts = new Map((trust.cuts ?? []).map(({ port, cut }) => [port, cut]))
  let isCut = false
  for (const { ports, sources } of imports.values())
    for (const source of sources) {
      const cut = cutOf(source, gone, refused)
      for (const { port, protocol } of ports) {
        if (!isHttp(protocol) || !source.ports.includes(port) || cut <= (cuts.get(port) ?? 0)) continue
        cuts.set(port, cut)
        isCut = true
      }
    }
  if (members === trust.members && !isCut) return trust
  const sorted = [...cuts].toSorted(([a], [b]) => a - b).map(([port, cut]) => ({ port, cut }))
  return { ...trust, members, ...(sorted.length > 0 ? { cuts: sorted } : {}) }
}

function importWithout(service: ImportedService, gone: ByDomain, refused: Refused): ImportedService | undefined {
  const sources = eachIn(service.sources, (source) => sourceWithout(source, gone, refused))
  if (sources === service.sources) return service
  const left = new Set(sources.map((source) => source.cluster))
  const pruned = service.tiers.map((tier) => ({ members: tier.members.filter((member) => left.has(member.cluster)) }))
  const isLeft = (at: number): boolean => pruned[at]?.members.length !== 0
  const tiers = pruned.filter((_, at) => isLeft(at))
  const { policy } = service
  const ruled = policy && { policy: { ...policy, tierOf: policy.tierOf.filter((_, at) => isLeft(at)) } }
  const cut = Math.max(service.cut ?? 0, ...service.sources.map((source) => cutOf(source, gone, refused)))
  return sources.length === 0 ? undefined : { ...service, ...ruled, sources, tiers, cut }
}

/** A server that is denied answers for nobody; where no other identity stands behind a source, neither does the source. */
function sourceWithout(source: Source, gone: ByDomain, refused: Refused): Source | undefined {
  if (gone.has(source.trustDomain)) return undefined
  const identities = without(source.identities, (id) => refused.has(id))
  if (identities === source.identities) return source
  return identities.length === 0 ? undefined : { ...source, identities }
}

/** The latest revocation that ends what is open to a source; 0 = none. */
const cutOf = (source: Source, gone: ByDomain, refused: Refused): number =>
  Math.max(gone.get(source.trustDomain)?.cut ?? 0, ...source.identities.map((id) => refused.get(id) ?? 0))

function exportWithout(service: ExportedService, gone: ByDomain, lost: ReadonlySet<ClusterName>): ExportedService {
  const admitted = without(service.admitted, (domain) => gone.has(domain))
  const consumers = without(service.consumers, (cluster) => lost.has(cluster))
  const foreign = service.foreign && without(service.foreign, (domain) => gone.has(domain))
  if (admitted === service.admitted && consumers === service.consumers && foreign === service.foreign) return service
  const cuts = [...service.admitted, ...(service.foreign ?? [])].map((domain) => gone.get(domain)?.cut ?? 0)
  const cut = Math.max(service.cut ?? 0, ...cuts)
  return { ...service, consumers, admitted, ...(foreign ? { foreign } : {}), ...(cut > 0 ? { cut } : {}) }
}

/** The same list where nothing is taken out. */
function without<T>(list: readonly T[], isOut: (item: T) => boolean): readonly T[] {
  return list.some(isOut) ? list.filter((item) => !isOut(item)) : list
}

/** The same list where every item stays the same. */
function eachIn<T>(list: readonly T[], change: (item: T) => T | undefined): readonly T[] {
  const next = list.flatMap((item) => change(item) ?? [])
  return next.length === list.length && next.every((item, at) => item === list[at]) ? list : next
}

/** The same map where every value stays the same. */
function eachOf<K, V>(map: ReadonlyMap<K, V>, change: (value: V) => V | undefined): ReadonlyMap<K, V> {
  const next = new Map<K, V>()
  let isSame = true
  for (const [key, value] of map) {
    const changed = change(value)
    if (changed !== value) isSame = false
    if (changed !== undefined) next.set(key, changed)
  }
  return isSame ? map : next
}
