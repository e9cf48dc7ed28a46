import type { View } from '#mesh/model/view.ts'

/** PEM of all roots to accept; undefined before the centre was heard: then the program beside Envoy knows them. */
export const rootsOf = (view: View): string | undefined => view.config?.trust.roots.map(withEnd).join('')

/** The cluster's own trust domain: two while a new generation is on its way, sorted. */
export const ownTrustDomains = (view: View): readonly string[] =>
  [...new Set<string>([view.home.trustDomain, ...(view.config ? [view.config.trust.trustDomain] : [])])].sort()

const withEnd = (pem: string): string => (pem.endsWith('\n') ? pem : `${pem}\n`)
