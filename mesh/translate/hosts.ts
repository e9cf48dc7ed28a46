import { addressKey } from '#mesh/model/address.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import type { View } from '#mesh/model/view.ts'
import type { Offer } from '#mesh/translate/offers.ts'

/** An address to dial, how much stands behind it, and what is known of its health. */
export type Host = {
  readonly address: string
  readonly port: number
  readonly weight: number
  readonly health: 'HEALTHY' | 'UNHEALTHY' | 'DRAINING' | 'UNKNOWN'
  /** False = plaintext: only ever a pod of the own cluster. */
  readonly meshed: boolean
}

/** The hosts of one cluster: those that take calls, and those that only come after all others. */
export type Hosts = { readonly weights: number; readonly inUse: readonly Host[]; readonly aside: readonly Host[] }

/** `isExact`: a policy says the shares, so a pod that is leaving must not weigh on them. */
type Facts = { readonly view: View; readonly isExact: boolean }

/** An offer with its hosts parted, none of them weighed yet. */
export type Parted = {
  readonly offer: Offer
  readonly inUse: readonly Omit<Host, 'weight'>[]
  readonly aside: readonly Omit<Host, 'weight'>[]
}

/**
 * Of a cluster's gateways one that is down, or being drained, is set aside as long as another one is good: its cluster
 * loses no pod with it, so the others carry all of its weight. Where none is good, those that are only drained are; where
 * there is none of these either all stay, each with what its own cluster says of it.
 */
export function partedOf(offer: Offer, { view, isExact }: Facts): Parted {
  if (offer.behind.kind === 'pods') {
    const { pods } = offer.behind
    const staying = pods.filter((pod) => pod.health === 'HEALTHY')
    if (!isExact || staying.length === 0) return { offer, inUse: pods, aside: [] }
    return { offer, inUse: staying, aside: pods.filter((pod) => pod.health !== 'HEALTHY') }
  }
  const { gateways } = offer.behind
  const { cluster } = offer.source
  const down = view.traffic?.gatewaysDown.get(cluster)
  const draining = view.traffic?.gatewaysDraining.get(cluster)
  const up = gateways.filter((g) => g.state !== 'down' && !down?.has(addressKey(g)))
  const good = draining === undefined ? up : up.filter((g) => !draining.has(addressKey(g)))
  const taking = good.length > 0 ? good : up
  if (taking.length === 0) return { offer, inUse: gateways.map(hostOfGateway), aside: [] }
  const isTaking = new Set(taking)
  return {
    offer,
    inUse: taking.map(hostOfGateway),
    aside: gateways.filter((g) => !isTaking.has(g)).map((g) => ({ ...hostOfGateway(g), health: 'UNHEALTHY' })),
  }
}

const gatewayHealth = { ready: 'HEALTHY', down: 'UNHEALTHY', unknown: 'UNKNOWN' } as const

const hostOfGateway = ({ address, port, state }: Gateway): Omit<Host, 'weight'> => ({
  ...{ address, port, health: gatewayHealth[state], meshed: true },
})

/** How many pods stand behind one host in use. */
export const podsBehind = ({ offer, inUse }: Parted): number =>
  offer.behind.kind === 'pods' ? 1 : (offer.ready === undefined ? 1 : Math.max(1, offer.ready)) / inUse.length

/**
 * What makes every host's weight a whole number: the least common multiple of the gateway counts. Bounded, because
 * Envoy's weights and their sum in a locality are 32 bits; beyond the bound they are rounded.
 */
export function hostScale(all: readonly Parted[]): number {
  const counts = all.map(({ offer, inUse }) => (offer.behind.kind === 'gateways' ? inUse.length : 1))
  const multiple = counts.reduce((a, b) => Math.min(leastCommonMultiple(a, b), 5040), 1)
  const heaviest = Math.max(1, ...all.map((parted) => podsBehind(parted) * parted.inUse.length))
  return Math.min(multiple, 1_000_000_000 / heaviest)
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b))
const leastCommonMultiple = (a: number, b: number): number => (a / greatestCommonDivisor(a, b)) * b
