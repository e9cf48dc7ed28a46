import type { DeniedId } from '#mesh/model/trust-bundle.ts'
import type { View } from '#mesh/model/view.ts'

/**
 * PEM of all roots to accept: as the bundle says, else as an older centre's config does, and before either was heard
 * those of the own issuing CA. Undefined while none is known: then no secret is sent, and every handshake that needs one
 * is refused.
 */
export function rootsOf(view: View): string | undefined {
  const roots = view.bundle?.roots.map(({ pem }) => pem) ?? view.config?.trust.roots ?? view.roots ?? []
  return roots.length === 0 ? undefined : [...new Set(roots.map(withEnd))].sort().join('')
}

/** The cluster's own trust domain: two while a new generation is on its way, sorted; none that is revoked. */
export function ownTrustDomains(view: View): readonly string[] {
  const own = new Set<string>([view.home.trustDomain, ...(view.config ? [view.config.trust.trustDomain] : [])])
  return [...own].filter((domain) => !view.bundle?.revoked.some((one) => one.trustDomain === domain)).sort()
}

/** The latest revocation of an own trust domain: it ends what is open on every port of the cluster. 0 = none ever. */
export const ownCutOf = ({ bundle, home }: View): number =>
  Math.max(0, ...(bundle?.revoked ?? []).filter(({ cluster }) => cluster === home.cluster).map(({ cut }) => cut))

/** The denied ids of some trust domains, sorted. */
export const deniedOf = ({ bundle }: View, domains: readonly string[]): readonly DeniedId[] =>
  (bundle?.denied ?? [])
    .filter(({ id }) => domains.some((domain) => id.startsWith(`spiffe://${domain}/`)))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))

const withEnd = (pem: string): string => (pem.endsWith('\n') ? pem : `${pem}\n`)
