import type { Violation } from '#mesh/model/problem.ts'
import type { TierTarget, TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import { checkServices } from '#mesh/policy/check-services.ts'
import { checkTies } from '#mesh/policy/check-ties.ts'
import type { PolicyFacts } from '#mesh/policy/policy-facts.ts'

/** Why a policy is refused, every reason; and what its author should hear though it stands. */
export type PolicyCheck = { readonly violations: readonly Violation[]; readonly warnings: readonly string[] }

/**
 * Checks a policy against the fleet as it is. Refused is what could not do what it says: a tier that names nobody, one
 * cluster in two places, weights that cannot be met, a policy that cannot fail over, a service with sticky sessions
 * spread by weight, settings of HTTP for services that are streams, a tie with another policy. What may come yet (a
 * service that nobody exports so far) is a warning, so that files may be applied in any order.
 */
export function checkPolicy(policy: TrafficPolicy, facts: PolicyFacts): PolicyCheck {
  const parts = [
    { violations: [...namesNobody(policy, facts), ...namedTwice(policy), ...contradictions(policy)], warnings: [] },
    { violations: [], warnings: repeatsPosts(policy) },
    checkTies(policy, facts),
    checkServices(policy, facts),
  ]
  return {
    violations: parts.flatMap(({ violations }) => violations),
    warnings: parts.flatMap(({ warnings }) => warnings),
  }
}

/** Whoever asks for it says that his requests may be done twice: he should know that he says it of POSTs. */
const repeatsPosts = ({ spec }: TrafficPolicy): string[] =>
  spec.retries?.idempotent && spec.retries.attempts !== 0
    ? [
        'spec.retries.idempotent: a request that failed is sent again whatever its method, so a POST whose answer was lost ' +
          'may be done twice: leave it out for services where that does harm',
      ]
    : []

type Place = { readonly path: string; readonly tier: number; readonly target: TierTarget }

const targetsOf = ({ spec }: TrafficPolicy): readonly Place[] =>
  (spec.tiers ?? []).flatMap(({ targets }, tier) =>
    targets.map((target, at) => ({ path: `spec.tiers[${tier}].targets[${at}]`, tier, target })),
  )

/** How a target is written: `cluster "east"`. */
const textOf = (target: TierTarget): string => {
  if ('cluster' in target) return `cluster "${target.cluster}"`
  return 'region' in target ? `region "${target.region}"` : `group "${target.group}"`
}

function namesNobody(policy: TrafficPolicy, { clusters, regions, groups }: PolicyFacts): Violation[] {
  return targetsOf(policy).flatMap(({ path, target }) => {
    const say = (reason: string): Violation[] => [{ path, reason: `${textOf(target)} names nobody: ${reason}` }]
    if ('cluster' in target)
      return clusters.has(target.cluster)
        ? []
        : say('no cluster of this mesh has that name; correct it, or join it first')
    if ('region' in target)
      return regions.has(target.region)
        ? []
        : say('no cluster of this mesh is in that region; correct it, or join one first')
    const members = groups.get(target.group)
    if (!members) return say('there is no such sameness group; make it first')
    return [...members].some((one) => clusters.has(one))
      ? []
      : say('none of its clusters is in this mesh; put one of them into the group')
  })
}

function namedTwice(policy: TrafficPolicy): Violation[] {
  const first = new Map<string, Place>()
  return targetsOf(policy).flatMap((place) => {
    const text = textOf(place.target)
    const before = first.get(text)
    if (!before) first.set(text, place)
    const reason = `${text} stands at ${before?.path} already: a cluster has one place in the order; take one of them out`
    return before ? [{ path: place.path, reason }] : []
  })
}

function contradictions({ spec }: TrafficPolicy): Violation[] {
  const { retries, timeouts, ejection } = spec
  const more = (a: number | undefined, b: number | undefined): boolean => a !== undefined && b !== undefined && a > b
  return [
    ...(more(ejection?.baseSeconds, ejection?.maxSeconds)
      ? [
          {
            path: 'spec.ejection.baseSeconds',
            reason: 'is more than maxSeconds: an ejection cannot begin longer than it may last',
          },
        ]
      : []),
    ...(more(retries?.perTrySeconds, timeouts?.requestSeconds)
      ? [
          {
            path: 'spec.retries.perTrySeconds',
            reason: 'is more than timeouts.requestSeconds: no second try would ever be made',
          },
        ]
      : []),
    ...(retries?.attempts === 0 && retries.idempotent
      ? [{ path: 'spec.retries.idempotent', reason: 'means nothing with attempts: 0, which asks for no retry at all' }]
      : []),
  ]
}
