import { type KeyRing, type KeyWish, makeSigner } from '#control/keys/open-signer.ts'
import { newId } from '#control/new-id.ts'
import type { AuthorityRow } from '#control/store/authorities.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { type Certificate, certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { controlPlaneCaNames, rootNames } from '#mesh/trust/names.ts'

export type AuthorityAsked = {
  readonly mesh: MeshName
  readonly kind: AuthorityRow['kind']
  readonly number: number
  readonly now: number
  readonly random: (bytes: number) => Uint8Array
  readonly wish?: KeyWish
}

/**
 * The `number`th authority of a kind, self-signed by a key that is on disk (or with the key service) before anything speaks
 * of it, read back and checked; its row, in state `prepared`, is the caller's to store. Throws what `makeSigner` throws.
 */
export async function makeAuthority(
  { mesh, kind, number, now, random, wish = { where: 'file', curve: 'P-256' } }: AuthorityAsked,
  ring: KeyRing,
): Promise<{ readonly row: AuthorityRow; readonly certificate: Certificate }> {
  const { keyRef, signer } = await makeSigner(kind, number, wish, ring)
  const isRoot = kind === 'root'
  const certificate = await issueCertificate(
    {
      profile: isRoot ? 'root' : 'control-plane-ca',
      names: isRoot ? rootNames(mesh, number) : controlPlaneCaNames(mesh, number),
      publicKey: await signer.publicKeySpki(),
      issuer: 'self',
      now: new Date(now),
      serial: random(16),
    },
    signer,
  )
  const row: AuthorityRow = {
    ...{ mesh, id: newId(now), kind, state: 'prepared', certificate: certificatePem(certificate), keyRef },
    ...{ createdAt: now, stateAt: now, number, chain: null, trusted: null, revision: 1 },
  }
  return { row, certificate }
}
