import { isIP } from 'node:net'
import { askBeacon, type Beacon } from '#gateway/health/ask-beacon.ts'
import type { Probed } from '#gateway/health/ask-over-tls.ts'
import { probeGateway } from '#gateway/health/probe-gateway.ts'
import type { ProbeLeaf } from '#gateway/health/probe-leaf.ts'
import { type Asked, openProber } from '#gateway/health/prober.ts'
import { openServiceHealth, type ServiceHealth } from '#gateway/health/service-health.ts'
import { addressKey } from '#mesh/model/address.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import { probeSniOf } from '#mesh/model/host.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type { ProbeResult } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import {
  defaultFailback,
  type Facts,
  type Failback,
  gatewayId,
  healthTimes,
  type Judged,
  judge,
  type Move,
} from '#mesh/policy/judge-health.ts'
import { type JudgedServices, noServices, type ServiceMove } from '#mesh/policy/judge-services.ts'

/** What a relay hears beside its own probes. */
export type Hearsay = Pick<Facts, 'centreHeardMsAgo' | 'frozen' | 'lost' | 'drained'>

export type HealthParts = {
  readonly view: () => View
  readonly leaf: ProbeLeaf
  readonly beacons: readonly Beacon[]
  readonly hearsay: () => Hearsay
  /** As it was when this relay last ran. */
  readonly begin: Judged
  readonly beginServices?: JudgedServices
  /** Called after each judgement, with what moves callers; also where only counts are others. */
  readonly onJudged: (judged: Judged, moves: readonly (Move | ServiceMove)[]) => void
  /** Monotonic ms. */
  readonly now?: () => number
  readonly times?: {
    readonly everyMs?: number
    readonly timeoutMs?: number
    readonly lookMs?: number
    readonly probesPerSecondMax?: number
  }
}

/** One gateway that answers wrongly, and how. */
export type WrongAnswer = { readonly cluster: ClusterName; readonly address: string; readonly detail: string }

export type Health = {
  judged(): Judged
  services: Pick<ServiceHealth, 'judged' | 'unsure' | 'leftOut' | 'counts'>
  /** Config, summaries or hearsay are others. */
  look(): void
  wrong(): readonly WrongAnswer[]
  /** Answers since the start, by cluster and result. */
  counts(): ReadonlyMap<ClusterName, Readonly<Partial<Record<ProbeResult, number>>>>
  /** Clusters of which a gateway answered in the last rounds, sorted. */
  reached(): readonly ClusterName[]
  stop(): void
}

/** So many rounds of probes an answer counts as one of now. */
const roundsShown = 4

type Place = { readonly cluster: ClusterName; readonly address: string }

/**
 * Probes the gateways of all clusters that something is imported from, and judges by what they answer. Not the own
 * cluster, whose pods are known here, and none of the own network: its pods are dialled without gateways, so these say
 * nothing about them.
 */
export function openHealth(parts: HealthParts): Health {
  const { view, leaf, hearsay, now = () => performance.now() } = parts
  const { everyMs, timeoutMs, lookMs } = { ...healthTimes, ...parts.times }
  let judged = parts.begin
  let probes: (Place & { readonly result: ProbeResult })[] = []
  let asked: { readonly from: readonly unknown[]; readonly places: Facts['imported'] } | undefined
  let failbacks: { readonly from: ClusterConfig | undefined; readonly of: NonNullable<Facts['failbacks']> } | undefined
  let isDue = true
  let judgedAt = 0
  const counts = new Map<ClusterName, Partial<Record<ProbeResult, number>>>()
  const wrong = new Map<string, WrongAnswer>()
  const answeredAt = new Map<ClusterName, number>()
  const byId = new Map<string, Place>()
  const beacons = new Map(parts.beacons.map((beacon) => [`beacon ${beacon.host}:${beacon.port}`, false]))
  const prober = openProber({ everyMs, onResult: (id, probed) => heard(id, probed) })
  const services = openServiceHealth({
    ...{ view, leaf, gatewaysOf, judged: () => judged, begin: parts.beginServices ?? noServices },
    times: { ...parts.times, everyMs, timeoutMs },
  })
  const timer = setInterval(tick, lookMs).unref()
  prober.want(everything())

  return {
    judged: () => judged,
    services,
    look: () => {
      isDue = true
    },
    wrong: () => [...wrong.values()],
    counts: () => counts,
    reached: () =>
      [...answeredAt]
        .flatMap(([cluster, at]) => (counts.has(cluster) && now() - at <= everyMs * roundsShown ? [cluster] : []))
        .toSorted(),
    stop: () => {
      clearInterval(timer)
      prober.stop()
      services.stop()
    },
  }

  function heard(id: string, probed: Probed): void {
    if (beacons.has(id)) {
      beacons.set(id, probed.result === 'ok')
      return
    }
    const place = byId.get(id)
    if (!place) return
    const { cluster, address } = place
    const count = counts.get(cluster) ?? {}
    counts.set(cluster, { ...count, [probed.result]: (count[probed.result] ?? 0) + 1 })
    if (probed.result === 'trust') wrong.set(id, { cluster, address, detail: probed.detail ?? '' })
    else if (probed.result === 'ok') wrong.delete(id)
    if (probed.result === 'ok') answeredAt.set(cluster, now())
    probes.push({ ...place, result: probed.result })
  }

  /** Holds and ramps go on without any news. */
  function tick(): void {
    const at = now()
    if (probes.length === 0 && !services.hasNews() && !isDue && at - judgedAt < 1000) return
    const imported = placesNow()
    const said = hearsay()
    const facts: Facts = {
      ...{ ...said, probes, imported, failbacks: failbacksNow() },
      beacons: [...beacons.values()],
    }
    probes = []
    isDue = false
    judgedAt = at
    const next = judge(judged, facts, at)
    judged = next.judged
    parts.onJudged(judged, [...next.moves, ...services.look(said, at)])
  }

  function placesNow(): Facts['imported'] {
    const { config, summaries } = view()
    const from = [config?.imports, config?.trust, summaries.gateways]
    if (asked?.from.every((one, at) => one === from[at])) return asked.places
    const clusters = judgedClusters(view())
    asked = {
      from,
      places: new Map(clusters.map((name) => [name, gatewaysOf(view(), name).map(addressKey)])),
    }
    prober.want(everything())
    return asked.places
  }

  function failbacksNow(): NonNullable<Facts['failbacks']> {
    const { config } = view()
    if (failbacks?.from !== config || !failbacks) failbacks = { from: config, of: failbacksOf(config) }
    return failbacks.of
  }

  function everything(): Asked[] {
    const { home, config } = view()
    byId.clear()
    const gateways = judgedClusters(view()).flatMap((cluster) => {
      const trustDomains = domainsOf(config, cluster)
      return gatewaysOf(view(), cluster).map((gateway): Asked => {
        const id = gatewayId(cluster, addressKey(gateway))
        byId.set(id, { cluster, address: addressKey(gateway) })
        const { address, port } = gateway
        const target = { address, port, sni: probeSniOf(cluster, home.mesh), trustDomains }
        return {
          id,
          ask: async () => {
            const context = leaf.context()
            return context && (await probeGateway(target, context, timeoutMs))
          },
        }
      })
    })
    for (const id of wrong.keys()) if (!byId.has(id)) wrong.delete(id)
    for (const name of counts.keys()) if (!gateways.some(({ id }) => id.startsWith(`${name} `))) counts.delete(name)
    const outside = parts.beacons.map((beacon) => ({
      id: `beacon ${beacon.host}:${beacon.port}`,
      ask: () => askBeacon(beacon, timeoutMs),
    }))
    return [...gateways, ...outside]
  }
}

/** The clusters whose gateways this one's calls cross, sorted. */
export function judgedClusters({ home, config }: View): readonly ClusterName[] {
  const sources = [...(config?.imports.values() ?? [])].flatMap((one) => one.sources)
  const others = sources.filter(({ cluster, network }) => cluster !== home.cluster && network !== home.network)
  return [...new Set(others.map(({ cluster }) => cluster))].sort()
}

const gatewaysOf = ({ summaries }: View, cluster: ClusterName): readonly Gateway[] => {
  const known = summaries.gateways.get(cluster)?.gateways.filter(({ address }) => isIP(address) !== 0) ?? []
  return [...new Map(known.map((gateway) => [addressKey(gateway), gateway])).values()]
}

/** By both words of the config: a cluster may be between two trust domains. */
function domainsOf(config: ClusterConfig | undefined, cluster: ClusterName): readonly string[] {
  const sources = [...(config?.imports.values() ?? [])].flatMap((one) => one.sources)
  const said = [...sources, ...(config?.trust.members ?? [])].filter((one) => one.cluster === cluster)
  return [...new Set(said.map(({ trustDomain }) => trustDomain as string))].sort()
}

/** The different ways in which the services of each cluster let it come back. */
export function failbacksOf(config: ClusterConfig | undefined): NonNullable<Facts['failbacks']> {
  const all = new Map<ClusterName, Map<string, Failback>>()
  for (const { policy, sources } of config?.imports.values() ?? []) {
    const { holdSeconds, rampSeconds } = policy ?? defaultFailback
    for (const { cluster } of sources) {
      const ways = all.get(cluster) ?? new Map<string, Failback>()
      all.set(cluster, ways.set(`${holdSeconds} ${rampSeconds}`, { holdSeconds, rampSeconds }))
    }
  }
  return new Map([...all].map(([cluster, ways]) => [cluster, [...ways.values()]]))
}
