import type { Centre } from '#cli/context.ts'
import { nlbAnnotations, type OnboardSettings } from '#cli/onboard/manifests/settings.ts'
import { memberOf, meshOf } from '#cli/onboard/membership.ts'

/** What the user says of the cluster that joins. */
export type JoinWish = {
  readonly cluster: string
  readonly region?: string
  readonly network?: string
  readonly images: OnboardSettings['images']
  readonly addresses: OnboardSettings['gateway']['addresses']
  readonly gatewayReplicas: number
  readonly isPublic: boolean
  readonly clusterSetCidr?: string
}

type Found = Pick<OnboardSettings, 'region' | 'network' | 'mesh' | 'trustDomain'> & { readonly isEks: boolean }

/** The settings of an installation: what was asked for, with what was found out. */
export const settingsFor = (wish: JoinWish, { isEks, ...found }: Found): OnboardSettings => ({
  ...{ cluster: wish.cluster, ...found, images: wish.images },
  gateway: {
    ...{ addresses: wish.addresses, replicas: wish.gatewayReplicas },
    annotations: isEks && wish.addresses.length === 0 ? nlbAnnotations(wish.isPublic) : {},
  },
  ...(wish.clusterSetCidr === undefined ? {} : { clusterSetCidr: wish.clusterSetCidr }),
})

type Named = { readonly cluster: string; readonly mesh?: string | undefined; readonly trustDomain?: string | undefined }

/** Mesh and trust domain as said; what was not is asked of the centre. */
export async function namesOf(
  centre: () => Centre,
  { cluster, mesh, trustDomain }: Named,
): Promise<Pick<OnboardSettings, 'mesh' | 'trustDomain'>> {
  if (mesh !== undefined) return { mesh, trustDomain: trustDomain ?? `${cluster}.${mesh}` }
  const [known, member] = await Promise.all([meshOf(centre()), memberOf(centre(), cluster)])
  return { mesh: known, trustDomain: trustDomain ?? member?.trustDomain ?? `${cluster}.${known}` }
}
