import { type Address, addressKey } from '#mesh/model/address.ts'
import type { Gateway } from '#mesh/model/gateway.ts'

/** A gateway's proxy that is connected to this relay. */
export type ConnectedGateway = {
  /** Addresses of its own, and the one it was told to listen on. */
  readonly addresses: readonly string[]
  /** `yes` from the moment it acknowledged its listener; a later refusal leaves it the one that it has. */
  readonly listens: 'yes' | 'refused' | 'not-yet'
}

/** Who is connected now. `others` are the proxies that are no gateways. */
export type Sight = { readonly gateways: readonly ConnectedGateway[]; readonly others: number }

/** Why a gateway is not seen to work. `Deaf`: no proxy at all is connected, which says more about this relay than about them. */
export type Silence = 'Away' | 'NotListening' | 'Refused' | 'Deaf'

export type OwnGateway = {
  readonly state: Gateway['state']
  /** It was connected once, to this process or an earlier one. */
  readonly isKnown: boolean
  /** It was connected to this process. */
  readonly isSeen: boolean
  readonly silence?: { readonly why: Silence; readonly since: number; readonly isOver: boolean }
}
export type OwnGateways = ReadonlyMap<string, OwnGateway>

/** Milliseconds of silence before it is believed. */
export const gatewayTimes = {
  /** A gateway that restarts is back by then. */
  away: 15_000,
  /** After this relay has opened its port: proxies dial again at least every five seconds, many of them at once. */
  start: 30_000,
} as const

export type SightFacts = {
  /** The own gateways, as others dial them. */
  readonly places: readonly Address[]
  readonly sight: Sight
  /** Ms of a clock that never goes back. */
  readonly now: number
  readonly times: { readonly [time in keyof typeof gatewayTimes]: number }
}

/**
 * The state of each own gateway, by `addressKey`. A place is the proxies that have its address, or, where none has
 * (a load balancer's address or name), all that have no place of their own. It is `ready` as soon as one of them listens.
 * Silence is believed after a while and changes nothing before: a restart is no news. A gateway is `down` only where this
 * relay hears others: when nobody is heard the fault may be here, and unknown is dialled.
 */
export function planOwnGateways(before: OwnGateways, facts: SightFacts): OwnGateways {
  const { places, sight } = facts
  const free = sight.gateways.filter((one) => !places.some((place) => standsAt(one, place)))
  return new Map(
    places.map((place) => {
      const here = sight.gateways.filter((one) => standsAt(one, place))
      const key = addressKey(place)
      return [key, stateOf(before.get(key), here.length > 0 ? here : free, facts)] as const
    }),
  )
}

const standsAt = ({ addresses }: ConnectedGateway, place: Address): boolean => addresses.includes(place.address)

function stateOf(
  before: OwnGateway | undefined,
  behind: readonly ConnectedGateway[],
  { sight, now, times }: SightFacts,
): OwnGateway {
  if (behind.some(({ listens }) => listens === 'yes')) return { state: 'ready', isKnown: true, isSeen: true }
  const why = silenceOf(behind, sight)
  const last = before?.silence
  // Whoever could not hear anybody begins to count when somebody is heard again.
  const since = last && (last.why === 'Deaf') === (why === 'Deaf') ? last.since : now
  const isSeen = before?.isSeen ?? false
  const isOver = now - since >= (isSeen ? times.away : times.start)
  const known = before?.state ?? 'unknown'
  const isKnown = before?.isKnown ?? false
  return { state: isOver ? believed(why, known, isKnown) : known, isKnown, isSeen, silence: { why, since, isOver } }
}

function silenceOf(behind: readonly ConnectedGateway[], { gateways, others }: Sight): Silence {
  if (behind.length > 0) return behind.some(({ listens }) => listens === 'refused') ? 'Refused' : 'NotListening'
  return gateways.length + others === 0 ? 'Deaf' : 'Away'
}

/** One that refuses its config may well serve what it had; one that never came may be run by somebody else. */
function believed(why: Silence, known: Gateway['state'], isKnown: boolean): Gateway['state'] {
  switch (why) {
    case 'Away':
      return isKnown ? 'down' : 'unknown'
    case 'NotListening':
      return 'down'
    case 'Refused':
      return 'unknown'
    case 'Deaf':
      return known === 'down' ? 'down' : 'unknown'
  }
}
