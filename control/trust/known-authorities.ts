import { loadAuthorities } from '#control/store/authorities.ts'
import type { Tx } from '#control/store/database.ts'
import { loadForeignDomains } from '#control/store/foreign-domains.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { bundleLimits } from '#mesh/model/trust-bundle.ts'
import type { KnownAuthority } from '#mesh/trust/authority-faults.ts'
import { parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'

export type KnownScope = {
  /** What was trusted once as well: a key that was given up is nobody else's root. */
  readonly withRevoked?: boolean
  /** A foreign trust domain whose roots are left out: they are to be replaced. */
  readonly without?: string
}

/**
 * Every authority of this mesh that is trusted for something or is about to be, what stands above it, and the roots of
 * foreign trust domains, each with the words to name it by.
 */
export async function loadKnownAuthorities(
  tx: Tx,
  mesh: MeshName,
  { withRevoked = false, without }: KnownScope = {},
): Promise<KnownAuthority[]> {
  const own = (await loadAuthorities(tx, mesh)).flatMap(({ kind, number, state, certificate, chain }) => {
    const what = `${kind} ${number ?? 1} of this mesh`
    if (state === 'revoked' && !withRevoked) return []
    const above = chain === null ? [] : parseCertificates(chain, 'chain above the authority')
    return [
      { what, certificate: parseCertificate(certificate) },
      ...above.map((one) => ({ what: `what stands above ${what}`, certificate: one })),
    ]
  })
  const foreign = (await loadForeignDomains(tx, mesh))
    .filter(({ trustDomain }) => trustDomain !== without)
    .flatMap(({ trustDomain, roots }) =>
      parseCertificates(roots, 'roots', bundleLimits.rootsEach).map((certificate) => ({
        what: `a root of ${trustDomain}`,
        certificate,
      })),
    )
  return [...own, ...foreign]
}
