import type { DeniedId, ForeignDomain, TrustBundle } from '#mesh/model/trust-bundle.ts'
import type { View } from '#mesh/model/view.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { shutAnchor } from '#mesh/trust/shut-anchor.ts'

/**
 * PEM of all roots to accept: as the bundle says, else as an older centre's config does, and before either was heard
 * those of the own issuing CA. Undefined while none is known: then no secret is sent, and every handshake that needs one
 * is refused.
 */
export function rootsOf(view: View): string | undefined {
  const roots = view.bundle?.roots.map(({ pem }) => pem) ?? view.config?.trust.roots ?? view.roots ?? []
  return roots.length === 0 ? undefined : [...new Set(roots.map(withEnd))].sort().join('')
}

/** By trust domain of another mesh, sorted: PEM of the anchors that may speak for it and for nothing else. */
export type ForeignAnchors = Readonly<Record<string, string>>

/**
 * The foreign trust domains that can be checked here. One that is a member's as well is none: our own roots alone speak
 * for our own, whatever the bundle says. One whose roots cannot be read is left out, so that nobody is taken for it.
 */
export function foreignAnchorsOf({ bundle, config, home }: View): ForeignAnchors {
  if (bundle === undefined || bundle.foreign.length === 0) return none
  const members = config?.trust.members
  const last = known.get(bundle)
  if (last && last.members === members && last.own === home.trustDomain) return last.anchors
  const anchors = anchorsBeside(bundle, [home.trustDomain, ...(members?.map((one) => one.trustDomain) ?? [])])
  known.set(bundle, { members, own: home.trustDomain, anchors })
  return anchors
}

const none: ForeignAnchors = {}
/** It is asked for every proxy, and a mesh may have thousands of members. */
const known = new WeakMap<TrustBundle, { members: unknown; own: string; anchors: ForeignAnchors }>()

function anchorsBeside(bundle: TrustBundle, own: readonly string[]): ForeignAnchors {
  const ours = new Set<string>(own)
  for (const { trustDomain } of bundle.revoked) ours.add(trustDomain)
  const named = bundle.foreign
    .filter(({ trustDomain }) => !ours.has(trustDomain))
    .map((one) => [one.trustDomain, anchorsOf(one)] as const)
    .filter(([, anchors]) => anchors !== '')
  return Object.fromEntries(named.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

const shut = new WeakMap<ForeignDomain, string>()

/** Made once for each: they are read, and written out again, for every view. */
function anchorsOf(domain: ForeignDomain): string {
  const made = shut.get(domain)
  if (made !== undefined) return made
  let anchors = ''
  try {
    anchors = domain.roots.map((pem) => toPem(shutAnchor(parseCertificate(pem), domain.trustDomain))).join('')
  } catch {
    // A newer centre's, of a form that is not known here.
  }
  shut.set(domain, anchors)
  return anchors
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
