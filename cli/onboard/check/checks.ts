import { type Check, findingsOf } from '#cli/onboard/check/check.ts'
import { clusterChecks } from '#cli/onboard/check/cluster-checks.ts'
import { type GatherParts, gatherFacts } from '#cli/onboard/check/gather.ts'
import { memberChecks } from '#cli/onboard/check/member-checks.ts'
import { serviceChecks } from '#cli/onboard/check/service-checks.ts'

export const checks: readonly Check[] = [...clusterChecks, ...memberChecks, ...serviceChecks]

/** All checks, or those that say something before a join. */
export async function runChecks(parts: GatherParts) {
  const facts = await gatherFacts(parts)
  return { facts, findings: findingsOf(parts.pre ? checks.filter(({ pre }) => pre) : checks, facts) }
}
