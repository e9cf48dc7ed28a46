import type { ClusterName } from '#mesh/model/id.ts'
import type { Violation } from '#mesh/model/problem.ts'
import { isHttp } from '#mesh/model/service.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { PolicyTier, TrafficPolicy, TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'
import type { PolicyCheck } from '#mesh/policy/check-policy.ts'
import { missingOf } from '#mesh/policy/check-ties.ts'
import type { PolicyFacts, ServiceFacts } from '#mesh/policy/policy-facts.ts'
import { probedPort } from '#mesh/policy/probe-port.ts'
import { isMeshWide, policyFor, rankedFor, selects } from '#mesh/policy/rank-policies.ts'
import { type Groups, preferenceOf, seatOf } from '#mesh/policy/tiers-of-policy.ts'

/** What may be wrong between a policy and a service. */
type Fault = { readonly path: string; readonly reason: string; readonly service: ServiceFacts }

/**
 * What a policy asks of the services that it selects and they cannot give. A policy that names them is refused where one
 * of them cannot; one for labels, a namespace or the mesh only where none of them can, or it could not be a default.
 */
export function checkServices(policy: TrafficPolicy, facts: PolicyFacts): PolicyCheck {
  const chosen = facts.services.filter(({ key, labels }) => selects(policy, key, labels))
  const faults = chosen.flatMap((service) => faultsOf(policy, service, facts))
  const byRule = [...Map.groupBy(faults, ({ path, reason }) => `${path} ${reason}`).values()]
  const isMeant = policy.spec.services.names !== undefined
  const [refused, others] = parted(byRule, (same) => isMeant || same.length === chosen.length)
  const violations = refused.map(said)
  const only = onlyCluster(policy)
  const isTold = violations.some(({ reason }) => reason.includes(cannotFailOver))
  const isStuck = !isTold && chosen.every((service) => ruledBy(policy, service, facts.others).unlisted !== 'last')
  const missing = missingOf(policy, facts.services)
  return {
    violations: [...(only !== undefined && isStuck ? [stuckAt(only)] : []), ...violations],
    warnings: [
      ...others.map(said).map(({ path, reason }) => `${path}: ${reason}`),
      ...missing.map((key) => `nobody exports service ${key} (yet): the policy governs it once somebody does`),
      ...(chosen.length === 0 && missing.length === 0 ? ['it selects no service that anybody exports (yet)'] : []),
    ],
  }
}

function parted<T>(list: readonly T[], isFirst: (item: T) => boolean): readonly [readonly T[], readonly T[]] {
  return [list.filter(isFirst), list.filter((item) => !isFirst(item))]
}

function said(same: readonly Fault[]): Violation {
  const [first] = same
  const services = someOf(same.map(({ service }) => service.key))
  return { path: first?.path ?? '', reason: `service ${services}: ${first?.reason}` }
}

type Order = Pick<TrafficPolicySpec, 'tiers' | 'unlisted'>

/** The order that callers of a service have under a policy that says a part of it: the rest is a less specific one's. */
function ruledBy(policy: TrafficPolicy, { key, labels }: ServiceFacts, others: readonly TrafficPolicy[]): Order {
  if (policy.spec.tiers && policy.spec.unlisted) return policy.spec
  const caller = policy.origin === 'api' || isMeshWide(policy) ? undefined : policy.origin
  const ranked = rankedFor(key, labels, caller, [policy, ...others])
  const inForce = policyFor(key, labels, caller, ranked.slice(ranked.indexOf(policy)))
  return inForce?.spec ?? policy.spec
}

function faultsOf(policy: TrafficPolicy, service: ServiceFacts, { groups, others }: PolicyFacts): Fault[] {
  const tiers = policy.spec.tiers ?? []
  const found = [
    ...tiers.flatMap((tier, at) => tierFaults(tier, `spec.tiers[${at}]`, seatedIn(at, { tiers, service, groups }))),
    ...failover(policy, service, { groups, others }),
    ...streamFaults(policy, service),
    ...probeFaults(policy, service),
  ]
  const sticky = tiers.flatMap((tier, at) =>
    stickyFaults(tier, `spec.tiers[${at}]`, seatedIn(at, { tiers, service, groups })),
  )
  return [...found, ...(service.sticky ? sticky : [])].map((fault) => ({ ...fault, service }))
}

type Seating = {
  readonly tiers: readonly PolicyTier[]
  readonly service: ServiceFacts
  readonly groups: Groups
}

/** The exporters of a service that a tier holds, with the target each stands under. */
const seatedIn = (at: number, { tiers, service, groups }: Seating) =>
  service.exporters.flatMap((place) => {
    const seat = seatOf(place, tiers, groups)
    return seat?.tier === at ? [{ cluster: place.cluster, target: seat.target }] : []
  })
type Seated = ReturnType<typeof seatedIn>

function tierFaults({ targets }: PolicyTier, path: string, seated: Seated): Violation[] {
  const isWeighted = targets.length > 1 && targets.some(({ weight }) => weight !== undefined)
  const filled = new Set(seated.map(({ target }) => target))
  if (!isWeighted || filled.size >= 2) return []
  const who = filled.size === 0 ? 'none of its targets exports it' : 'only one of its targets exports it'
  return [{ path, reason: `its weights cannot be met, since ${who}: export it in another, or take the weights out` }]
}

function stickyFaults(tier: PolicyTier, path: string, seated: Seated): Violation[] {
  if (preferenceOf(tier) !== 'none' || seated.length < 2) return []
  const reason =
    'asks for sticky sessions, and weights would send one client to several clusters in turn: ' +
    'say prefer: own, or give each cluster a tier of its own'
  return [{ path, reason }]
}

const cannotFailOver = 'cannot fail over'
const waysOut = 'add a cluster, region or group to a tier, or say unlisted: last'

/** The one cluster that all tiers name, where they name no other. */
function onlyCluster({ spec }: TrafficPolicy): ClusterName | undefined {
  if (!spec.tiers || spec.unlisted === 'last') return undefined
  const targets = spec.tiers.flatMap((tier) => tier.targets)
  const [first] = targets.flatMap((target) => ('cluster' in target ? [target.cluster] : []))
  return targets.every((target) => 'cluster' in target && target.cluster === first) ? first : undefined
}

const stuckAt = (cluster: ClusterName): Violation => ({
  path: 'spec.tiers',
  reason: `${cannotFailOver}: cluster "${cluster}" is all that its tiers name and unlisted is never: ${waysOut}`,
})

function failover(
  policy: TrafficPolicy,
  service: ServiceFacts,
  { groups, others: policies }: Pick<PolicyFacts, 'groups' | 'others'>,
): Violation[] {
  const { spec } = policy
  if (service.exporters.length < 2 || (!spec.tiers && !spec.unlisted)) return []
  const { tiers, unlisted } = ruledBy(policy, service, policies)
  if (!tiers || unlisted === 'last') return []
  const listed = service.exporters.filter((place) => seatOf(place, tiers, groups))
  const others = service.exporters.filter((place) => !listed.includes(place)).map(({ cluster }) => cluster)
  const [one] = listed
  if (!one || listed.length > 1) return []
  const reason =
    `${cannotFailOver}: of its exporters the tiers name cluster "${one.cluster}" alone, and not ${someOf(others)}: ` +
    waysOut
  return [{ path: spec.tiers ? 'spec.tiers' : 'spec.unlisted', reason }]
}

function streamFaults({ spec }: TrafficPolicy, { ports }: ServiceFacts): Violation[] {
  if (ports.some(({ protocol }) => isHttp(protocol))) return []
  const asked = [
    ...(spec.retries ? ['retries'] : []),
    ...(spec.timeouts?.requestSeconds === undefined ? [] : ['timeouts.requestSeconds']),
  ]
  const reason =
    'carries streams on all its ports, where this setting of HTTP means nothing: take it out, or set appProtocol'
  return asked.map((part) => ({ path: `spec.${part}`, reason }))
}

function probeFaults({ spec: { probe } }: TrafficPolicy, { ports }: ServiceFacts): Violation[] {
  if (!probe || probedPort(probe, ports)) return []
  const numbers = [...new Set(ports.map(({ port }) => port))].toSorted((a, b) => a - b)
  if (probe.port !== undefined && !numbers.includes(probe.port)) {
    const reason = `port ${probe.port} is not offered: it offers ${someOf(numbers.map(String))}`
    return [{ path: 'spec.probe.port', reason }]
  }
  const what = probe.port === undefined ? 'carries streams on all its ports' : `port ${probe.port} is a stream`
  const reason = `${what}, which no ${probe.kind} probe can ask: say kind: tcp, or set appProtocol`
  return [{ path: probe.port === undefined ? 'spec.probe' : 'spec.probe.port', reason }]
}
