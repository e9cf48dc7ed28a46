import { type Address, addressKey } from '#mesh/model/address.ts'
import type { Source } from '#mesh/model/cluster-config.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import type { ServicePort } from '#mesh/model/service.ts'
import type { FlatEndpoint } from '#mesh/model/summary.ts'
import type { View } from '#mesh/model/view.ts'
import type { Road } from '#mesh/translate/callable.ts'
import { compareText, isAddress } from '#mesh/translate/encode.ts'
import { type Claim, holdersOf } from '#mesh/translate/holders.ts'
import { type OwnPod, ownPodsOf } from '#mesh/translate/own-pods.ts'

/** An address to dial, how much stands behind it, and what is known of its health. */
export type Host = {
  readonly address: string
  readonly port: number
  readonly weight: number
  readonly health: 'HEALTHY' | 'UNHEALTHY' | 'DRAINING' | 'UNKNOWN'
  /** False = plaintext: only ever a pod of the own cluster. */
  readonly meshed: boolean
}

/** One source cluster inside a tier. */
export type Share = {
  readonly cluster: string
  readonly region: string
  readonly zone: string
  /** At least 1: Envoy refuses a whole update for one weight of 0. */
  readonly weight: number
  readonly hosts: readonly Host[]
}

/** What one source cluster can give. `ready` is absent where nothing was heard of it yet. */
type Offer = {
  readonly source: Source
  readonly zone: string
  readonly ready?: number
  readonly total: number
  readonly behind:
    | { readonly kind: 'pods'; readonly pods: readonly Pick<Host, 'address' | 'port' | 'health' | 'meshed'>[] }
    | { readonly kind: 'gateways'; readonly gateways: readonly Gateway[] }
}

/**
 * The tiers of one federated service port, in order, none empty: per source cluster a share and its hosts.
 *
 * - The own cluster is its pods; a cluster of the same network its pods too, as many of them as its summary names (how
 *   many are ready, its counts say); any other its gateways. A cluster without a road (no gateway known) is left out.
 * - Nothing ready: left out. Nothing *heard*: dialled through its gateways as if one pod stood there, because unknown is
 *   not empty. Nothing ready anywhere: the gateways stay, in their order, as the last resort.
 * - What is no IP address is left out: Envoy would refuse the whole update, and another cluster's word must not do that.
 * - A share is the policy's weight × ready/total: Envoy sees only gateways, so a cluster at half strength would else keep
 *   its whole share.
 * - A host weighs the pods behind it: with L the least common multiple of the gateway counts a pod weighs L and each of
 *   k gateways ready × L / k, so the health a tier loses is counted in pods.
 * - No address and port is there twice, whoever names it (`holdersOf`): Envoy would merge the two.
 */
export function tiersOf(view: View, road: Road, port: ServicePort): readonly (readonly Share[])[] {
  const isHeld = holdersOf(road.sources.map((source) => claimOf(view, road, source, port)))
  const offers = new Map(
    road.sources.map((source) => {
      const isOwn = (address: Address): boolean => isHeld(source.cluster, address)
      return [source.cluster as string, offerOf(view, road, source, { port, isOwn })]
    }),
  )
  const anyReady = [...offers.values()].some((o) => o !== undefined && isDialled(o))
  const kept = new Map([...offers].flatMap(([name, o]) => (o && (isDialled(o) || !anyReady) ? [[name, o]] : [])))
  const scale = hostScale([...kept.values()])
  return road.tiers
    .map((tier) => {
      const shares = tier.members.flatMap((member) => {
        const offer = kept.get(member.cluster)
        // Whatever the config says, a cluster is dialled in one place.
        kept.delete(member.cluster)
        const hosts = offer === undefined ? [] : hostsOf(offer, scale)
        return offer === undefined || hosts.length === 0
          ? []
          : [{ offer, hosts, raw: member.weight * strengthOf(offer) }]
      })
      const weights = wholeWeights(shares.map((s) => s.raw))
      return shares.map(({ offer, hosts }, at) => ({
        cluster: offer.source.cluster as string,
        region: offer.source.region,
        zone: offer.zone,
        weight: weights[at] ?? 1,
        hosts,
      }))
    })
    .filter((shares) => shares.length > 0)
}

/** What `tiersOf` reads of other clusters, beside the road and the own pods: inputs of whatever is kept of it. */
export const tierInputs = (view: View, road: Road): readonly unknown[] =>
  road.sources.flatMap((source) => [
    view.summaries.services.get(source.cluster)?.get(road.imported.key),
    view.summaries.gateways.get(source.cluster),
  ])

const isDialled = (offer: Offer): boolean => offer.ready === undefined || offer.ready > 0

/** Where a source could be dialled by its own word: its pods as far as this cluster reaches them, and its gateways. */
function claimOf(view: View, road: Road, source: Source, port: ServicePort): Claim {
  const { cluster } = source
  if (cluster === view.home.cluster) {
    const pods = ownPodsOf(view, road.imported.key, port)
    return { cluster, own: true, addresses: pods.map((p) => ({ address: p.endpoint.address, port: p.port })) }
  }
  const addresses = [...flatOf(view, road, source, port), ...gatewaysOf(view, source)]
  // An address without an age of its own is as old as the export: so are those that a gateway's name led to.
  return { cluster, own: false, addresses: addresses.map((one) => ({ ...aged(source), ...one })) }
}

const aged = ({ since }: Source): { readonly since?: number } => (since === undefined ? {} : { since })

const flatOf = (view: View, road: Road, source: Source, port: ServicePort): readonly FlatEndpoint[] => {
  const summary = view.summaries.services.get(source.cluster)?.get(road.imported.key)
  const flat = source.network === view.home.network ? summary?.flat : undefined
  return flat?.filter((e) => e.servicePort === port.port && isAddress(e.address)) ?? []
}

const gatewaysOf = (view: View, source: Source): readonly Gateway[] =>
  (view.summaries.gateways.get(source.cluster)?.gateways ?? []).filter((g) => isAddress(g.address))

function offerOf(
  view: View,
  road: Road,
  source: Source,
  { port, isOwn }: { readonly port: ServicePort; readonly isOwn: (address: Address) => boolean },
): Offer | undefined {
  if (source.cluster === view.home.cluster) return ownOffer(source, ownPodsOf(view, road.imported.key, port))
  const summary = view.summaries.services.get(source.cluster)?.get(road.imported.key)
  const counts = summary?.counts.filter((c) => c.port === port.port) ?? []
  const counted = sumOf(counts.map((c) => c.ready))
  const total = sumOf(counts.map((c) => c.total))
  const gateways = once(gatewaysOf(view, source).toSorted(byAddress)).filter(isOwn)
  const flat = source.network === view.home.network ? summary?.flat : undefined
  // Of a pod that is named twice, the one that takes new calls.
  const named = flatOf(view, road, source, port).toSorted((a, b) => Number(a.draining) - Number(b.draining))
  const pods = once(named).filter(isOwn).toSorted(byAddress)
  const dialled = pods.filter((e) => !e.draining).length
  // Ready pods of which no address is known here: they are reached as those of any other network are.
  const hidden = dialled === 0 && counted > 0 && gateways.length > 0
  if (flat !== undefined && !hidden) {
    const ready = dialled === 0 ? 0 : Math.max(dialled, counted)
    return {
      source,
      zone: onlyOne(pods.map((e) => e.zone)),
      ready,
      total: Math.max(ready, total),
      behind: {
        kind: 'pods',
        pods: pods.map((e) => ({
          address: e.address,
          port: e.port,
          health: e.draining ? 'DRAINING' : 'HEALTHY',
          meshed: true,
        })),
      },
    }
  }
  if (gateways.length === 0) return undefined
  return {
    source,
    zone: onlyOne(counts.map((c) => c.zone)),
    ...(summary === undefined ? {} : { ready: counted }),
    total,
    behind: { kind: 'gateways', gateways },
  }
}

/** Pods that are not ready count in the total and are never dialled; terminating ones take nothing new. */
function ownOffer(source: Source, all: readonly OwnPod[]): Offer {
  const inOrder = all.toSorted((a, b) => healthOrder[a.endpoint.health] - healthOrder[b.endpoint.health])
  const pods = once(inOrder.map((p) => ({ ...p, address: p.endpoint.address }))).toSorted(byAddress)
  const serving = pods.filter((p) => p.endpoint.health !== 'not-ready')
  return {
    source,
    zone: onlyOne(pods.map((p) => p.endpoint.locality.zone)),
    ready: pods.filter((p) => p.endpoint.health === 'ready').length,
    total: pods.filter((p) => p.endpoint.health !== 'draining').length,
    behind: {
      kind: 'pods',
      pods: serving.map((p) => ({
        address: p.endpoint.address,
        port: p.port,
        health: p.endpoint.health === 'draining' ? 'DRAINING' : 'HEALTHY',
        meshed: p.meshed,
      })),
    },
  }
}

/** Of one address that is named more than once, the pod that serves. */
const healthOrder = { ready: 0, draining: 1, 'not-ready': 2 } as const

/** The first of each address. */
function once<T extends Address>(list: readonly T[]): T[] {
  const seen = new Map<string, T>()
  for (const one of list) if (!seen.has(addressKey(one))) seen.set(addressKey(one), one)
  return [...seen.values()]
}

const byAddress = (a: Address, b: Address): number => compareText(a.address, b.address) || a.port - b.port

const gatewayHealth = { ready: 'HEALTHY', down: 'UNHEALTHY', unknown: 'UNKNOWN' } as const

function hostsOf(offer: Offer, scale: number): readonly Host[] {
  const weight = Math.max(1, Math.round(hostWeight(offer) * scale))
  if (offer.behind.kind === 'pods') return offer.behind.pods.map((pod) => ({ ...pod, weight }))
  return offer.behind.gateways.map((g) => ({
    address: g.address,
    port: g.port,
    weight,
    health: gatewayHealth[g.state],
    meshed: true,
  }))
}

/** How many pods stand behind one host of an offer. */
const hostWeight = (offer: Offer): number =>
  offer.behind.kind === 'pods'
    ? 1
    : (offer.ready === undefined ? 1 : Math.max(1, offer.ready)) / offer.behind.gateways.length

/**
 * What makes every host's weight a whole number: the least common multiple of the gateway counts. Bounded, because
 * Envoy's weights and their sum in a locality are 32 bits; beyond the bound they are rounded.
 */
function hostScale(offers: readonly Offer[]): number {
  const counts = offers.map((o) => (o.behind.kind === 'gateways' ? o.behind.gateways.length : 1))
  const multiple = counts.reduce((a, b) => Math.min(leastCommonMultiple(a, b), 5040), 1)
  const heaviest = Math.max(1, ...offers.map((o) => hostWeight(o) * hostCount(o)))
  return Math.min(multiple, 1_000_000_000 / heaviest)
}

const hostCount = (offer: Offer): number =>
  offer.behind.kind === 'pods' ? offer.behind.pods.length : offer.behind.gateways.length

/** Which part of a cluster's pods is ready; 1 where nothing is known. */
const strengthOf = (offer: Offer): number =>
  offer.ready === undefined || offer.ready === 0 || offer.total <= offer.ready ? 1 : offer.ready / offer.total

/**
 * Weights as whole numbers from 1 on, in proportion to four digits; whole ones of modest size stay as they are. A tier of
 * one has no shares to give, so its weight never moves.
 */
function wholeWeights(raw: readonly number[]): readonly number[] {
  if (raw.length < 2) return raw.map(() => 1)
  if (raw.every((w) => Number.isInteger(w) && w >= 1 && w <= 1_000_000)) return raw
  const most = Math.max(...raw)
  return raw.map((w) => Math.max(1, Math.round((w / most) * 10_000)))
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0)
const onlyOne = (texts: readonly string[]): string => {
  const [first, ...others] = new Set(texts)
  return others.length === 0 ? (first ?? '') : ''
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b))
const leastCommonMultiple = (a: number, b: number): number => (a / greatestCommonDivisor(a, b)) * b
