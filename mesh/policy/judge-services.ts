import type { CompiledProbe } from '#mesh/model/cluster-config.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { ProbeResult, ServiceEvidence } from '#mesh/model/traffic.ts'
import {
  type Failback,
  gatewayId,
  healthTimes,
  type Judged,
  judge,
  type Move,
  nothingJudged,
  type ProbeEvidence,
} from '#mesh/policy/judge-health.ts'

/** What a relay holds of one service in each of the clusters that it asks. */
export type JudgedService = {
  /** The `probeId` that the verdicts stand on: those of another question are none. */
  readonly probe: string
  /** How events and people name the probe. */
  readonly name: string
  readonly judged: Judged
}

export type JudgedServices = ReadonlyMap<ServiceKey, JudgedService>

/** One service that is probed. */
export type AskedService = {
  readonly probe: CompiledProbe
  readonly failback: Failback
  /** The other clusters that are asked, each through its gateways. */
  readonly exporters: readonly ClusterName[]
  /** Of these, whom nobody can ask now, or whom somebody drains: not judged, and not counted on. */
  readonly aside: ReadonlySet<ClusterName>
  /** Of these, who is out because of its gateways: not judged, and one less that may go out. */
  readonly away: ReadonlySet<ClusterName>
}

export type ServiceFacts = {
  /** What came in since the last judgement, in order. */
  readonly probes: readonly ServiceProbed[]
  readonly asked: ReadonlyMap<ServiceKey, AskedService>
  readonly frozen: boolean
}

export type ServiceProbed = {
  readonly service: ServiceKey
  readonly cluster: ClusterName
  readonly result: ProbeResult
  /** For people: `503`. */
  readonly said: string
}

/** A verdict on one service in one cluster. */
export type ServiceMove = Move & { readonly service: ServiceKey; readonly probe: string }

export const noServices: JudgedServices = new Map()

/** Says whether two probes ask the same thing. */
export const probeId = ({ kind, port, path = '' }: CompiledProbe): string => `${kind} ${port} ${path}`

/** How a person names what is asked. */
export const probeName = ({ kind, port, path = '/' }: CompiledProbe): string =>
  kind === 'http' ? `GET ${path}` : kind === 'grpc' ? 'gRPC health' : `TCP ${port}`

/** A verdict's evidence in the words of its probe. */
export const serviceEvidence = (probe: string, evidence: ProbeEvidence): ServiceEvidence => {
  const { said = '', inRow = healthTimes.failures, forMs } = evidence
  return { probe, said, failed: inRow, of: inRow, forMs }
}

/** `probe GET /healthz: 503, 3 of 3`. */
export const serviceSaw = ({ probe, said, failed, of }: ServiceEvidence): string =>
  `probe ${probe}: ${said}, ${failed} of ${of}`

/** Of one exporter there is one thing to ask. */
const asking = 'service'
const askingOne: readonly string[] = [asking]

export const stateId = (cluster: ClusterName): string => gatewayId(cluster, asking)

/**
 * What a relay concludes from its probes of services, and what is to move: each service is judged for itself, among the
 * clusters that it is asked in, by the rules of `judge`. So where every one of them fails nothing moves (the question is
 * wrong, or the service is down everywhere), and of those that fail a third at most is out, whoever is out because of his
 * gateways among them.
 *
 * Where one cluster alone is asked, that its gateway answers this relay bears witness: who has no gateway that answers is
 * not asked. A verdict ends with its question: a service that is not probed any more, or otherwise, has none.
 *
 * Never throws. `now` is monotonic.
 */
export function judgeServices(
  before: JudgedServices,
  { probes, asked, frozen }: ServiceFacts,
  now: number,
): { readonly judged: JudgedServices; readonly moves: readonly ServiceMove[] } {
  const moves: ServiceMove[] = []
  const judged = new Map<ServiceKey, JudgedService>()
  const byService = Map.groupBy(probes, ({ service }) => service)
  for (const [service, one] of asked) {
    const [probe, name] = [probeId(one.probe), probeName(one.probe)]
    const last = before.get(service)
    const known = last?.probe === probe ? withOnly(last.judged, one.exporters) : nothingJudged(now)
    moves.push(...endedIn(service, last, known))
    const next = judge(known, factsOf(one, byService.get(service) ?? [], frozen), now)
    judged.set(service, { probe, name, judged: next.judged })
    for (const move of next.moves) moves.push({ ...move, service, probe: name })
  }
  for (const [service, last] of before) if (!asked.has(service)) moves.push(...endedIn(service, last, undefined))
  return { judged, moves }
}

function factsOf(one: AskedService, probes: readonly ServiceProbed[], frozen: boolean): Parameters<typeof judge>[1] {
  const { exporters, aside, away, failback, probe } = one
  return {
    probes: probes.map(({ cluster, result, said }) => ({ cluster, address: asking, result, said })),
    imported: new Map(exporters.map((cluster) => [cluster, askingOne])),
    // Nobody is asked but through a gateway that answers.
    ...{ centreHeardMsAgo: undefined, beacons: [true], frozen, lost: new Set<ClusterName>() },
    drained: new Set([...aside, ...away]),
    away: away.size,
    failbacks: new Map(exporters.map((cluster) => [cluster, [failback]])),
    everyMs: Math.max(probe.everyMs, healthTimes.everyMs),
  }
}

/** Without the clusters that are not asked any more. */
function withOnly(judged: Judged, exporters: readonly ClusterName[]): Judged {
  const isAsked = new Set(exporters)
  if ([...judged.clusters.keys()].every((cluster) => isAsked.has(cluster))) return judged
  return { ...judged, clusters: new Map([...judged.clusters].filter(([cluster]) => isAsked.has(cluster))) }
}

/** Whom a verdict that is no more gives back what it took. */
function endedIn(service: ServiceKey, last: JudgedService | undefined, known: Judged | undefined): ServiceMove[] {
  return [...(last?.judged.clusters ?? [])].flatMap(([cluster, { phase, evidence }]): ServiceMove[] => {
    if (phase === 'in' || known?.clusters.has(cluster)) return []
    const of = evidence ? { evidence } : {}
    return [{ kind: 'ramp-done', cluster, service, probe: last?.name ?? '', ...of }]
  })
}
