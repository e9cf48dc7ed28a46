import type { Certified } from '#gateway/identity/certified-key.ts'
import type { BundleRoot, TrustBundle } from '#mesh/model/trust-bundle.ts'
import { type Certificate, parseCertificates, same } from '#mesh/trust/certificate.ts'
import { signerOf } from '#mesh/trust/check-bundle.ts'
import { backdateSeconds } from '#mesh/trust/profile.ts'
import { isSignedBy } from '#mesh/trust/public-key.ts'

/** Which authorities a relay's certificates are to stand under, and since when. */
export type Wanted = {
  readonly bundle?: TrustBundle
  /** Unix ms: an issuing CA of before is renewed with a new key. */
  readonly issuingBefore?: number
}

/** Why the issuing CA is to be renewed before its time, and to what end; undefined where it is as it should be. */
export function issuingFault(current: Certified, { bundle, issuingBefore }: Wanted): string | undefined {
  const active = bundle && otherThan(authorityOver(current, bundle), bundle.roots)
  if (active !== undefined) return `root ${active} is active`
  if (isBefore(current.chain[0], issuingBefore)) return `made before ${issuingBefore}`
  return undefined
}

/** Why the relay's serving certificate is to be renewed before its time. */
export function servingFault(current: Certified, { bundle }: Wanted): string | undefined {
  const active = bundle && otherThan(authorityOver(current, bundle), bundle.controlPlane)
  return active === undefined ? undefined : `control-plane CA ${active} is active`
}

/** The authority that signed the top of a chain: one that came with it, or one of the bundle. */
export function authorityOver({ chain, roots }: Certified, bundle: TrustBundle | undefined): Certificate | undefined {
  const top = chain.at(-1) ?? chain[0]
  const known = bundle ? [...roots, ...authoritiesIn(bundle.roots), ...authoritiesIn(bundle.controlPlane)] : roots
  return known.find(
    ({ subject, publicKey }) =>
      same(subject, top.issuer) &&
      isSignedBy(publicKey.key, top.signatureAlgorithm, { data: top.tbs, signature: top.signature }),
  )
}

/** When it was made, Unix ms: its beginning is back-dated. */
export const madeAt = ({ notBefore }: Pick<Certificate, 'notBefore'>): number =>
  notBefore.getTime() + backdateSeconds * 1000

/** Whether an issuing CA was made before the centre asked for a new one. Certificates tell whole seconds. */
export const isBefore = (certificate: Pick<Certificate, 'notBefore'>, issuingBefore: number | undefined): boolean =>
  issuingBefore !== undefined && madeAt(certificate) < wholeSecond(issuingBefore)

export const wholeSecond = (ms: number): number => Math.floor(ms / 1000) * 1000

const parsed = new WeakMap<readonly BundleRoot[], readonly Certificate[]>()

/** Parsed once for each list. */
export function authoritiesIn(roots: readonly BundleRoot[]): readonly Certificate[] {
  const known = parsed.get(roots) ?? roots.flatMap(({ pem }) => parseCertificates(pem, 'trust bundle', 16))
  parsed.set(roots, known)
  return known
}

/** The active ones where `authority` is none of them; a list without an active one asks for nothing. */
function otherThan(authority: Certificate | undefined, roots: readonly BundleRoot[]): string | undefined {
  const active = roots.filter(({ state }) => state === 'active')
  const names = active.flatMap(({ pem }) => parseCertificates(pem, 'trust bundle', 16)).map(signerOf)
  return names.length === 0 || (authority && names.includes(signerOf(authority))) ? undefined : names.join(', ')
}
