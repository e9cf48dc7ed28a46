import { aboutService, bad, good, type Path } from '#mesh/foresee/path.ts'
import type { Step } from '#mesh/model/explanation.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import { policyName, type TierTarget } from '#mesh/model/traffic-policy.ts'

/** Who governs, and whether he names anybody who offers it. */
export function policyStep({ imported, seen }: Path): Step {
  const { key, policy } = imported
  if (!policy) return good('policy', 'no policy governs it: the own cluster, then its region, then the rest')
  const nobody = seen.view.config?.conditions.find(
    ({ type, object }) => type === 'PolicyNamesNobody' && object === aboutService(key),
  )
  const [named = ''] = policy.name.split('@')
  const single = cannotFailOver(seen, key)
  if (!nobody) return good('policy', `${policy.name} governs it${single ? `; ${single}` : ''}`)
  return bad('policy', {
    saw: `${policy.name} governs it and names none of the clusters that offer it here, so the default order stands`,
    fix: `add one of them to a tier, or say unlisted: last: isthmus get gtp ${named}`,
    at: `policy ${named}`,
  })
}

/** That its policy names one cluster alone; undefined where it does not. */
export const cannotFailOver = ({ view }: Path['seen'], key: ServiceKey): string | undefined =>
  view.config?.conditions.find(({ type, object }) => type === 'PolicyCannotFailOver' && object === aboutService(key))
    ?.message

/** In which order clusters are tried, and whether the first tier of the policy has anybody. */
export function tierStep({ imported, road, seen }: Path): Step {
  const { policy } = imported
  const order = road.tiers.map(({ members }) =>
    someOf(members.map(({ cluster, weight }) => (members.length > 1 ? `${cluster} ×${weight}` : cluster))),
  )
  const text = `tried in this order: ${order.slice(0, 5).join(', then ')}`
  const first = Math.min(...(policy?.tierOf ?? [0]))
  if (!policy || first === 0) return good('tier', text)
  const [named = ''] = policy.name.split('@')
  const written = seen.fleet?.policies?.find((one) => policyName(one) === named)?.spec.tiers?.[0]
  const whom = written ? ` (${someOf(written.targets.map(targetText))})` : ''
  return bad('tier', {
    saw: `nobody in the first tier of ${policy.name}${whom} offers it here, so calls begin at its tier ${first + 1}; ${text}`,
    fix: `export it in a cluster of that tier, or correct the tier: isthmus get gtp ${named}`,
    at: `policy ${named}`,
  })
}

const targetText = (target: TierTarget): string =>
  'cluster' in target ? target.cluster : 'region' in target ? `region ${target.region}` : `group ${target.group}`
