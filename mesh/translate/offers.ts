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

/** A pod to dial. Only ones of the own cluster may be without mutual TLS. */
export type OfferedPod = {
  readonly address: string
  readonly port: number
  readonly health: 'HEALTHY' | 'DRAINING'
  readonly meshed: boolean
}

/** What one source cluster can give. `ready` is absent where nothing was heard of it yet. */
export type Offer = {
  readonly source: Source
  readonly zone: string
  readonly ready?: number
  readonly total: number
  readonly behind:
    | { readonly kind: 'pods'; readonly pods: readonly OfferedPod[] }
    | { readonly kind: 'gateways'; readonly gateways: readonly Gateway[] }
}

/** What each source of a road offers at one port; a cluster without a road to it is left out. */
export function offersOf(view: View, road: Road, port: ServicePort): ReadonlyMap<string, Offer> {
  const isHeld = holdersOf(road.sources.map((source) => claimOf(view, road, source, port)))
  return new Map(
    road.sources.flatMap((source) => {
      const isOwn = (address: Address): boolean => isHeld(source.cluster, address)
      const offer = offerOf(view, road, source, { port, isOwn })
      return offer === undefined ? [] : [[source.cluster, offer] as const]
    }),
  )
}

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

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0)
const onlyOne = (texts: readonly string[]): string => {
  const [first, ...others] = new Set(texts)
  return others.length === 0 ? (first ?? '') : ''
}
