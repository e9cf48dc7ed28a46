import type { Probed } from '#gateway/health/ask-over-tls.ts'
import type { ProbeLeaf } from '#gateway/health/probe-leaf.ts'
import { probeService } from '#gateway/health/probe-service.ts'
import { type ProbedService, type ProbedServices, probedServices } from '#gateway/health/probed-services.ts'
import { type Asked, openProber } from '#gateway/health/prober.ts'
import { addressKey } from '#mesh/model/address.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { ProbeResult } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { gatewayId, type Judged } from '#mesh/policy/judge-health.ts'
import {
  type AskedService,
  type JudgedServices,
  judgeServices,
  probeName,
  type ServiceMove,
  type ServiceProbed,
} from '#mesh/policy/judge-services.ts'

export type ServiceHealthParts = {
  readonly view: () => View
  readonly leaf: ProbeLeaf
  readonly gatewaysOf: (view: View, cluster: ClusterName) => readonly Gateway[]
  /** How other clusters' gateways are. */
  readonly judged: () => Judged
  readonly begin: JudgedServices
  readonly times: { readonly everyMs: number; readonly timeoutMs: number; readonly probesPerSecondMax?: number }
}

/** A probe of which nothing can be concluded, and why. */
export type UnsureProbe = {
  readonly service: ServiceKey
  readonly cluster: ClusterName
  readonly probe: string
  readonly detail: string
}

export type ServiceHealth = {
  judged(): JudgedServices
  hasNews(): boolean
  /** Judges what came in. */
  look(
    facts: { readonly frozen: boolean; readonly drained: ReadonlySet<ClusterName> },
    now: number,
  ): readonly ServiceMove[]
  unsure(): readonly UnsureProbe[]
  leftOut(): readonly ServiceKey[]
  /** Answers since the start, by cluster and result. */
  counts(): ReadonlyMap<ClusterName, Readonly<Partial<Record<ProbeResult, number>>>>
  stop(): void
}

type Pair = { readonly of: ProbedService; readonly cluster: ClusterName }

/** Asks services in other clusters as their policies say, and judges by what they answer. */
export function openServiceHealth(parts: ServiceHealthParts): ServiceHealth {
  const { view, leaf, gatewaysOf, times } = parts
  let judged = parts.begin
  let probes: ServiceProbed[] = []
  let known: { readonly from: readonly unknown[]; readonly found: ProbedServices } | undefined
  const pairs = new Map<string, Pair>()
  const unsure = new Map<string, UnsureProbe>()
  const counts = new Map<ClusterName, Partial<Record<ProbeResult, number>>>()
  const turns = new Map<string, number>()
  const prober = openProber({ everyMs: times.everyMs, onResult: heard })
  foundNow()

  return {
    judged: () => judged,
    hasNews: () => probes.length > 0,
    look: ({ frozen, drained }, now) => {
      const { services } = foundNow()
      const asked = new Map(services.map((one) => [one.key, askedOf(one, drained)]))
      const next = judgeServices(judged, { probes, asked, frozen }, now)
      probes = []
      judged = next.judged
      return next.moves
    },
    unsure: () => [...unsure.values()],
    leftOut: () => foundNow().leftOut,
    counts: () => counts,
    stop: prober.stop,
  }

  function foundNow(): ProbedServices {
    const { config, bundle } = view()
    const from = [config, bundle]
    if (known?.from.every((one, at) => one === from[at])) return known.found
    known = { from, found: probedServices(view(), times.probesPerSecondMax) }
    prober.want(questions(known.found.services))
    return known.found
  }

  function questions(services: readonly ProbedService[]): Asked[] {
    pairs.clear()
    for (const of of services)
      for (const { cluster } of of.exporters) pairs.set(`${of.key} ${cluster} ${probeName(of.probe)}`, { of, cluster })
    for (const id of [...unsure.keys()]) if (!pairs.has(id)) unsure.delete(id)
    for (const id of [...turns.keys()]) if (!pairs.has(id)) turns.delete(id)
    return [...pairs].map(([id, pair]) => ({ id, everyMs: pair.of.probe.everyMs, ask: () => ask(id, pair) }))
  }

  async function ask(id: string, { of, cluster }: Pair): Promise<Probed | undefined> {
    const context = leaf.context()
    const gateways = isAsked(of, cluster) ? answering(cluster) : []
    const turn = turns.get(id) ?? 0
    const gateway = gateways[turn % gateways.length]
    const identities = of.exporters.find((one) => one.cluster === cluster)?.identities ?? []
    if (!context || !gateway) return undefined
    turns.set(id, turn + 1)
    const { host, sni, probe } = of
    const probed = await probeService({ ...gateway, host, sni, probe, identities }, context, times.timeoutMs)
    // A gateway that went silent meanwhile is what failed.
    const isAlive = answering(cluster).some((one) => addressKey(one) === addressKey(gateway))
    return probed?.result === 'ok' || isAlive ? probed : undefined
  }

  function heard(id: string, { result, detail = '' }: Probed): void {
    const pair = pairs.get(id)
    if (!pair) return
    const { of, cluster } = pair
    const count = counts.get(cluster) ?? {}
    counts.set(cluster, { ...count, [result]: (count[result] ?? 0) + 1 })
    if (result === 'unsure') unsure.set(id, { service: of.key, cluster, probe: probeName(of.probe), detail })
    else unsure.delete(id)
    probes.push({ service: of.key, cluster, result, said: detail })
  }

  /** The gateways of a cluster that answered the last time they were asked, and lead calls on. */
  function answering(cluster: ClusterName): readonly Gateway[] {
    const now = view()
    const { gateways } = parts.judged()
    const draining = now.traffic?.gatewaysDraining.get(cluster)
    return gatewaysOf(now, cluster).filter((gateway) => {
      const state = gateways.get(gatewayId(cluster, addressKey(gateway)))
      const answers = state !== undefined && state.fails === 0 && state.goodAt !== undefined && !state.down
      return answers && draining?.has(addressKey(gateway)) !== true
    })
  }

  /** Where it is known that no pod is ready nobody is there to ask: their readiness moves callers already. */
  function isAsked({ key, probe }: ProbedService, cluster: ClusterName): boolean {
    const counted = view()
      .summaries.services.get(cluster)
      ?.get(key)
      ?.counts.filter(({ port }) => port === probe.port)
    return counted === undefined || counted.some(({ ready }) => ready > 0)
  }

  function askedOf(one: ProbedService, drained: ReadonlySet<ClusterName>): AskedService {
    const { drains } = view().config?.imports.get(one.key) ?? {}
    const { clusters } = parts.judged()
    const exporters = one.exporters.map(({ cluster }) => cluster)
    const isAway = (cluster: ClusterName): boolean => ['out', 'holding'].includes(clusters.get(cluster)?.phase ?? 'in')
    const isAside = (cluster: ClusterName): boolean =>
      drained.has(cluster) ||
      drains?.some((drain) => drain.cluster === cluster && drain.percent < 100) === true ||
      !isAsked(one, cluster) ||
      answering(cluster).length === 0
    return {
      ...{ probe: one.probe, failback: one.failback, exporters },
      away: new Set(exporters.filter(isAway)),
      aside: new Set(exporters.filter((cluster) => !isAway(cluster) && isAside(cluster))),
    }
  }
}
