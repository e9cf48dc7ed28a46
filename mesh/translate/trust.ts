import type { View } from '#mesh/model/view.ts'

/**
 * PEM of all roots to accept: as the centre says, and before it was heard those of the own issuing CA. Undefined while
 * neither is known: then no secret is sent, and every handshake that needs one is refused.
 */
export function rootsOf(view: View): string | undefined {
  const roots = view.config?.trust.roots ?? view.roots ?? []
  return roots.length === 0 ? undefined : [...new Set(roots.map(withEnd))].sort().join('')
}

/** The cluster's own trust domain: two while a new generation is on its way, sorted. */
export const ownTrustDomains = (view: View): readonly string[] =>
  [...new Set<string>([view.home.trustDomain, ...(view.config ? [view.config.trust.trustDomain] : [])])].sort()

const withEnd = (pem: string): string => (pem.endsWith('\n') ? pem : `${pem}\n`)
