import { join } from 'node:path'
import { z } from 'zod'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import {
  gatewayTimes,
  type OwnGateway,
  type OwnGateways,
  planOwnGateways,
  type Sight,
} from '#gateway/plan-own-gateways.ts'
import { type Address, addressKey } from '#mesh/model/address.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import { gatewayAddressFault } from '#mesh/model/gateway-address.ts'

export type OwnGatewaysParts = {
  readonly stateDir: string
  /** The own gateways as the settings, or else the Services, name them. */
  readonly places: () => readonly Address[]
  /** Who is connected; undefined while this relay's port is closed, when nobody can be. */
  readonly sight: () => Sight | undefined
  /** Others are to be told another state. */
  readonly onChange: () => void
  readonly log: { warn(facts: object, text: string): void; info(facts: object, text: string): void }
  readonly now?: () => number
  readonly times?: Partial<{ readonly [time in keyof typeof gatewayTimes]: number }>
  readonly lookMs?: number
}

/** The own east-west gateways: what others are told of them, and what a person should know. */
export type OwnGatewaysWatch = {
  current(): readonly Gateway[]
  conditions(): readonly Condition[]
  counts(): Readonly<Record<Gateway['state'], number>>
  stop(): void
}

/** As many as a report may name. */
const placesMax = 64

const keptSchema = z.object({
  version: z.literal(1),
  gateways: z.array(z.tuple([z.string(), z.enum(['ready', 'down', 'unknown'])])),
})

/** Follows which gateways are connected and listen. What was told before a restart stands until something else is known. */
export function openOwnGateways(parts: OwnGatewaysParts): OwnGatewaysWatch {
  const { sight, onChange, log, now = () => performance.now(), lookMs = 1000 } = parts
  const times = { ...gatewayTimes, ...parts.times }
  const path = join(parts.stateDir, 'own-gateways.json')
  const warn = (text: string) => log.warn({ path }, text)
  let states: OwnGateways = new Map(
    loadKept(path, (body) => keptSchema.parse(body), warn)?.gateways.map(([key, state]): [string, OwnGateway] => [
      key,
      { state, isKnown: state !== 'unknown', isSeen: false },
    ]),
  )
  const timer = setInterval(look, lookMs).unref()

  return {
    current,
    conditions: () => [...odd(), ...silent()],
    counts: () => {
      const counts = { ready: 0, down: 0, unknown: 0 }
      for (const { state } of current()) counts[state] += 1
      return counts
    },
    stop: () => clearInterval(timer),
  }

  function places(): readonly Address[] {
    return parts
      .places()
      .filter(({ address }) => gatewayAddressFault(address) === undefined)
      .slice(0, placesMax)
  }

  function current(): readonly Gateway[] {
    return places().map(({ address, port }) => ({ address, port, state: stateAt({ address, port }) }))
  }

  function stateAt(place: Address): Gateway['state'] {
    return states.get(addressKey(place))?.state ?? 'unknown'
  }

  function look(): void {
    const seen = sight()
    if (!seen) return
    const before = states
    states = planOwnGateways(before, { places: places(), sight: seen, now: now(), times })
    const changed = [...states].filter(([key, { state }]) => state !== (before.get(key)?.state ?? 'unknown'))
    for (const [gateway, { state, silence }] of changed)
      if (silence) log.warn({ gateway, state, reason: silence.why }, 'an own gateway is not seen to work')
      else log.info({ gateway, state }, 'an own gateway works')
    if (changed.length === 0 && states.size === before.size) return
    saveKept(path, { version: 1, gateways: [...states].map(([key, { state }]) => [key, state]) }, warn)
    if (changed.length > 0) onChange()
  }

  function silent(): Condition[] {
    return [...states].flatMap(([key, { silence, state, isKnown }]) => {
      if (!silence?.isOver) return []
      const seconds = Math.round((now() - silence.since) / 1000)
      const message = `${why(silence.why, isKnown)}, for ${seconds} s; ${effects[state]}`
      return [
        {
          type: 'GatewayNotReady',
          reason: isKnown ? silence.why : 'NeverConnected',
          message,
          object: `gateway ${key}`,
        },
      ]
    })
  }

  function why(reason: NonNullable<OwnGateway['silence']>['why'], isKnown: boolean): string {
    if (reason === 'NotListening') return 'its proxy is connected and has not acknowledged its listener: read its log'
    if (reason === 'Refused') return 'its proxy refuses its listener: see "quarantined" in /status, and its log'
    if (reason === 'Deaf')
      return 'no proxy of this cluster is connected to the relay: look at port 15012 and at certificates'
    return isKnown
      ? 'no proxy of it is connected: start it, or look at its log'
      : 'no proxy of it has ever connected: start it'
  }

  function odd(): Condition[] {
    const all = parts.places()
    const faults = all.flatMap(({ address }) => {
      const fault = gatewayAddressFault(address)
      return fault === undefined ? [] : [{ address, fault }]
    })
    const conditions = faults.slice(0, placesMax).map(({ address, fault }) => ({
      ...{ type: 'GatewayAddressRefused', reason: 'NotAnAddress', object: `gateway ${address.slice(0, 253)}` },
      message: `"${address.slice(0, 80)}" ${fault}; other clusters are not told of it`,
    }))
    const left = all.length - faults.length - placesMax
    if (left <= 0) return conditions
    const message = `${left} of the gateways are left out: others are told of ${placesMax}`
    return [...conditions, { type: 'TooManyGateways', reason: 'Bound', message, object: 'cluster' }]
  }
}

const effects: Readonly<Record<Gateway['state'], string>> = {
  ready: 'others go on calling it',
  down: 'callers in other clusters prefer others, and use it only where nothing else is left',
  unknown: 'others go on calling it, because nothing is known',
}
