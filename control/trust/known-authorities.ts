import { loadAuthorities } from '#control/store/authorities.ts'
import type { Tx } from '#control/store/database.ts'
import { loadForeignDomains } from '#control/store/foreign-domains.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { bundleLimits } from '#mesh/model/trust-bundle.ts'
import type { KnownAuthority } from '#mesh/trust/authority-faults.ts'
import { parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'

/** Every authority that is trusted here for something, or is about to be, with the words to name it by. */
export async function loadKnownAuthorities(tx: Tx, mesh: MeshName): Promise<KnownAuthority[]> {
  const own = (await loadAuthorities(tx, mesh)).flatMap(({ kind, number, state, certificate, chain }) => {
    const what = `${kind} ${number ?? 1} of ${mesh}`
    if (state === 'revoked') return []
    const above = chain === null ? [] : parseCertificates(chain, 'chain above the authority')
    return [
      { what, certificate: parseCertificate(certificate) },
      ...above.map((one) => ({ what: `what stands above ${what}`, certificate: one })),
    ]
  })
  const foreign = (await loadForeignDomains(tx, mesh)).flatMap(({ trustDomain, roots }) =>
    parseCertificates(roots, 'roots', bundleLimits.rootsEach).map((certificate) => ({
      what: `a root of the foreign trust domain ${trustDomain}`,
      certificate,
    })),
  )
  return [...own, ...foreign]
}
