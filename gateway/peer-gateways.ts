import { join } from 'node:path'
import { loadAnswers, saveAnswers } from '#gateway/kept-answers.ts'
import { type DnsSettings, dnsAsk } from '#gateway/resolve/ask-dns.ts'
import { type Dialled, dialledGateways, type GatewaysBySource, namesIn } from '#gateway/resolve/dialled-gateways.ts'
import { openResolver, type ResolverParts } from '#gateway/resolve/name-resolver.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Gateway } from '#mesh/model/gateway.ts'

export type PeerGatewaysParts = {
  readonly stateDir: string
  readonly cluster: string
  /** The own gateways, as others dial them. */
  readonly own: () => readonly Gateway[]
  readonly dns: DnsSettings
  /** Called when other addresses are to be dialled for what was said before. */
  readonly onChange: () => void
  readonly log: ResolverParts['log']
  readonly limits?: ResolverParts['limits']
}

/** The gateways of other clusters as they are to be dialled: names become addresses, and who was first keeps them. */
export type PeerGateways = {
  /** What is to be dialled of what other clusters say; parts that did not change keep their identity. */
  dialled(said: GatewaysBySource): GatewaysBySource
  conditions(): readonly Condition[]
  counts(): { readonly names: number; readonly unresolved: number; readonly stale: number; readonly contested: number }
  stop(): void
}

const saveMs = 1000
/** A fault that passes by itself is no condition yet. */
const shownAfterMs = 30_000
const conditionsMax = 100

export function openPeerGateways(parts: PeerGatewaysParts): PeerGateways {
  const { cluster, own, log } = parts
  const path = join(parts.stateDir, 'gateway-names.json')
  const warn = (text: string) => log.warn({ path }, text)
  const kept = loadAnswers(path, warn)
  const { ask, stop } = dnsAsk(parts.dns)
  let said: GatewaysBySource = new Map()
  let last: Dialled | undefined
  let saving: NodeJS.Timeout | undefined
  let isBegun = false
  const resolver = openResolver({
    ...{ ask, log, saved: kept.answers, ...(parts.limits ? { limits: parts.limits } : {}) },
    onChange: () => {
      saveSoon()
      if (isBegun) parts.onChange()
    },
  })

  return {
    dialled: (now) => {
      said = now
      isBegun = false
      resolver.want([...namesIn(own()), ...[...said.values()].flatMap(({ gateways }) => namesIn(gateways))])
      isBegun = true
      const before = last?.contested.length
      last = dialledGateways({
        ...{ said, answers: resolver.answers(), own: { cluster, gateways: own() } },
        before: last && last.holders.size > 0 ? last : { holders: kept.holders },
      })
      if (last.contested.length !== (before ?? 0)) saveSoon()
      return last.gateways
    },
    conditions: () => [...unresolved(), ...contested()].slice(0, conditionsMax),
    counts: () => ({ ...resolver.counts(), contested: last?.contested.length ?? 0 }),
    stop: () => {
      resolver.stop()
      stop()
      if (saving) save()
      clearTimeout(saving)
    },
  }

  function saveSoon(): void {
    saving ??= setTimeout(save, saveMs).unref()
  }

  /** A disk that takes nothing costs a question after the next start, no more. */
  function save(): void {
    clearTimeout(saving)
    saving = undefined
    const holders = new Map((last?.contested ?? []).map(({ at, cluster: holder }) => [at, holder]))
    saveAnswers(path, { answers: resolver.answers(), holders }, warn)
  }

  function unresolved(): Condition[] {
    const faults = resolver
      .faults()
      .filter(({ forMs, addresses }) => forMs >= shownAfterMs || forMs === 0 || addresses === 0)
    return faults.map(({ name, reason, addresses }) => {
      const of = [...said].filter(([, { gateways }]) => gateways.some(({ address }) => address === name))
      const who = of.length === 0 ? `cluster ${cluster}` : of.map(([one]) => `cluster ${one}`).join(', ')
      const so = addresses === 0 ? 'it is not dialled' : `${addresses} known before stay`
      return {
        type: 'GatewayName',
        reason: addresses === 0 ? 'Unresolved' : 'Stale',
        message: `the gateway ${name} of ${who}: ${reason}; ${so}: look at that name's DNS record and at this cluster's DNS`,
        object: `gateway ${name}`,
      }
    })
  }

  function contested(): Condition[] {
    return (last?.contested ?? []).map(({ at, cluster: holder, other, said: text }) => ({
      type: 'GatewayAddressHeld',
      reason: 'TwoClusters',
      message:
        `${text} of cluster ${other} leads to ${at}, a gateway of cluster ${holder} already, and is not dialled there: ` +
        'give each cluster its own address',
      object: `gateway ${text}`,
    }))
  }
}
