import { partsOf, type ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import { policyName, type Selector, type TrafficPolicy } from '#mesh/model/traffic-policy.ts'
import type { PolicyCheck } from '#mesh/policy/check-policy.ts'
import type { PolicyFacts } from '#mesh/policy/policy-facts.ts'
import { isMeshWide, moreSpecific, selects, specificityOf } from '#mesh/policy/rank-policies.ts'

/**
 * Two policies that are equally specific and select one service: neither governs it, so the second is refused. Selectors
 * by label that could meet in a service of the future are a warning.
 */
export function checkTies(policy: TrafficPolicy, { others, services }: PolicyFacts): PolicyCheck {
  const alike = others.filter(
    (other) =>
      moreSpecific(specificityOf(other.spec.services), specificityOf(policy.spec.services)) === 0 &&
      mayMeet(policy, other),
  )
  const equals = alike.filter((other) => other.origin === policy.origin || givesWay(policy, other))
  const overruled = alike.filter((other) => policy.origin === 'api' && givesWay(other, policy))
  const found = equals.map((other) => ({ other, shared: sharedBy(policy, other, services) }))
  const mend = 'make one of them more specific (names, labels, a namespace), or merge them'
  return {
    violations: found
      .filter(({ other, shared }) => shared.length > 0 || isCertain(policy, other))
      .map(({ other, shared }) => {
        const what = shared.length > 0 ? `service ${someOf(shared)}` : 'the same services'
        const reason = `selects ${what} exactly as policy ${policyName(other)} does, and neither would govern: ${mend}`
        return { path: 'spec.services', reason }
      }),
    warnings: [
      ...found
        .filter(({ other, shared }) => shared.length === 0 && !isCertain(policy, other))
        .map(
          ({ other }) =>
            `policy ${policyName(other)} selects as exactly by other labels: a service with both would tie`,
        ),
      ...overruled.map(
        (other) => `policy ${policyName(other)} of a policy source selects as exactly: where both do, this one governs`,
      ),
    ],
  }
}

/** A policy source is no match for the operator; nor for another source, which is older in force than what is checked. */
const givesWay = (policy: TrafficPolicy, other: TrafficPolicy): boolean =>
  policy.origin !== 'api' && policy.meshWide !== undefined && policy.origin !== other.origin && isMeshWide(other)

const sharedBy = (a: TrafficPolicy, b: TrafficPolicy, services: PolicyFacts['services']): readonly ServiceKey[] =>
  services.filter(({ key, labels }) => selects(a, key, labels) && selects(b, key, labels)).map(({ key }) => key)

/** True where no service can be told apart by which of the two selects it. */
const isCertain = (a: TrafficPolicy, b: TrafficPolicy): boolean => sameLabels(a.spec.services, b.spec.services)

const sameLabels = (a: Selector, b: Selector): boolean => {
  const [left, right] = [a.labels ?? {}, b.labels ?? {}]
  return Object.keys({ ...left, ...right }).every((label) => left[label] === right[label])
}

/** False where no service, present or future, can be selected by both. */
function mayMeet(a: TrafficPolicy, b: TrafficPolicy): boolean {
  const [left, right] = [withinOf(a), withinOf(b)]
  if (left !== undefined && right !== undefined && left !== right) return false
  const [named, others] = [a.spec.services.names, b.spec.services.names]
  if (named && others && !named.some((name) => others.includes(name))) return false
  const labels = b.spec.services.labels ?? {}
  return Object.entries(a.spec.services.labels ?? {}).every(([label, value]) => (labels[label] ?? value) === value)
}

const withinOf = ({ namespace, spec }: TrafficPolicy): string | undefined =>
  spec.services.namespace ?? (spec.services.names ? namespace : undefined)

/** The services that a policy names and that nobody exports. */
export function missingOf(policy: TrafficPolicy, services: PolicyFacts['services']): readonly string[] {
  const { names = [] } = policy.spec.services
  const known = new Set(services.map(({ key }) => partsOf(key)).map(({ namespace, name }) => `${namespace}/${name}`))
  return names.map((name) => `${withinOf(policy)}/${name}`).filter((key) => !known.has(key))
}
