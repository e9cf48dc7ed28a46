import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import type { Answers } from '#gateway/resolve/name-resolver.ts'
import { addressKey } from '#mesh/model/address.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import { gatewayAddressFault } from '#mesh/model/gateway-address.ts'
import type { GatewaySummary } from '#mesh/model/summary.ts'

export type GatewaysBySource = ReadonlyMap<string, GatewaySummary>

/** An address that two clusters lead to: `cluster` keeps it, `other` does not. */
export type Contested = { readonly at: string; readonly cluster: string; readonly other: string; readonly said: string }

export type Dialled = {
  /** By source cluster: every address an IP. A summary that names no host is the very one that was given. */
  readonly gateways: GatewaysBySource
  /** Who leads to each `<address>:<port>`. */
  readonly holders: ReadonlyMap<string, string>
  readonly contested: readonly Contested[]
}

export type DialledFacts = {
  readonly said: GatewaysBySource
  readonly answers: Answers
  /** The own cluster and its gateways, as its settings and Services name them: nobody else's name may lead to them. */
  readonly own: { readonly cluster: string; readonly gateways: readonly Gateway[] }
  readonly before?: Partial<Pick<Dialled, 'gateways' | 'holders'>>
}

/** Of one cluster, after its names are resolved: the wire's bound on what one cluster says. */
const addressesMax = 64

/** The names among gateways: they are to be resolved. */
export const namesIn = (gateways: readonly Gateway[]): readonly string[] =>
  gateways.map(({ address }) => address).filter(isName)

const isName = (address: string): boolean => isIP(address) === 0 && gatewayAddressFault(address) === undefined

type Place = Gateway & { readonly at: string; readonly said: string }

/**
 * The gateways of other clusters as addresses to dial. An address that a name leads to belongs to the cluster that led to
 * it first, as the centre has it for addresses that are written down; of two that are new, to the one that wrote it down,
 * then to the first by name. A proxy knows an endpoint by its address alone: of two clusters at one, only one can be
 * proved. Two that both wrote it down are not told apart here: the centre's dates do that.
 */
export function dialledGateways({ said, answers, own, before }: DialledFacts): Dialled {
  const places = new Map([...said].map(([cluster, { gateways }]) => [cluster, placesOf(gateways, answers)] as const))
  const ownPlaces = new Set(placesOf(own.gateways, answers).map(({ at }) => at))
  const claims = new Map<string, Claim[]>()
  for (const [cluster, all] of [...places].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    for (const { at, said: text, address } of all)
      claims.set(at, [...(claims.get(at) ?? []), { cluster, isName: text !== address }])
  const holderOf = (at: string, all: readonly Claim[]): Claim | undefined =>
    ownPlaces.has(at)
      ? { cluster: own.cluster, isName: false }
      : (all.find(({ cluster }) => cluster === before?.holders?.get(at)) ?? all.find((one) => !one.isName) ?? all[0])
  const holders = new Map([...claims].map(([at, all]) => [at, holderOf(at, all)]))
  const contested: Contested[] = []
  const gateways = new Map(
    [...said].map(([cluster, summary]): [string, GatewaySummary] => {
      const all = places.get(cluster) ?? []
      const lost = all.filter(({ at, said: text, address }) => {
        const holder = holders.get(at)
        return holder !== undefined && holder.cluster !== cluster && (holder.isName || text !== address)
      })
      contested.push(
        ...lost.map(({ at, said: text }) => ({
          at,
          cluster: holders.get(at)?.cluster ?? '',
          other: cluster,
          said: text,
        })),
      )
      if (lost.length === 0 && !summary.gateways.some(({ address }) => isName(address))) return [cluster, summary]
      const kept = all.filter((place) => !lost.includes(place)).slice(0, addressesMax)
      const next = { gateways: kept.map(({ at: _, said: __, ...gateway }) => gateway) }
      const old = before?.gateways?.get(cluster)
      return [cluster, old && isDeepStrictEqual(old, next) ? old : next]
    }),
  )
  const named = [...holders].flatMap(([at, holder]) => (holder ? [[at, holder.cluster] as const] : []))
  return { gateways, holders: new Map(named), contested }
}

type Claim = { readonly cluster: string; readonly isName: boolean }

/** Each address and port once; where two of a cluster's words lead to one, the first counts. */
function placesOf(gateways: readonly Gateway[], answers: Answers): readonly Place[] {
  const found = new Map<string, Place>()
  for (const gateway of gateways) {
    const said = gateway.address
    for (const address of isIP(said) === 0 ? (answers.get(said) ?? []) : [said]) {
      const at = addressKey({ address, port: gateway.port })
      if (!found.has(at)) found.set(at, { ...gateway, address, at, said })
    }
  }
  return [...found.values()]
}
