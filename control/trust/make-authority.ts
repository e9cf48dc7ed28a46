import { type KeyRing, type KeyWish, makeSigner } from '#control/keys/open-signer.ts'
import { newId } from '#control/new-id.ts'
import type { AuthorityRow } from '#control/store/authorities.ts'
import { takePluggedCa } from '#control/trust/plugged-authority.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { KnownAuthority } from '#mesh/trust/authority-faults.ts'
import { type Certificate, certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { controlPlaneCaNames, rootNames } from '#mesh/trust/names.ts'

export type AuthorityAsked = {
  readonly mesh: MeshName
  readonly kind: AuthorityRow['kind']
  readonly number: number
  readonly now: number
  readonly random: (bytes: number) => Uint8Array
  readonly wish?: AuthorityWish
  /** Authorities that are there already: of one that is brought along none may be among them. */
  readonly known?: readonly KnownAuthority[]
  /** A trust domain that clusters have, where that is not their own. */
  readonly trustDomain?: string | undefined
}

/** A key to be made or named, or the CA in `KeyRing.plugged`. */
export type AuthorityWish = KeyWish | { readonly where: 'plugged' }

type Made = { readonly row: AuthorityRow; readonly certificate: Certificate }

/**
 * The `number`th authority of a kind, self-signed by a key that is on disk (or with the key service) before anything speaks
 * of it, read back and checked; its row, in state `prepared`, is the caller's to store; or the one that was brought along. Throws what
 * `makeSigner` and `takePluggedCa` throw, `invalid` where one is to be brought along and is not a root, or is not there.
 */
export async function makeAuthority(asked: AuthorityAsked, ring: KeyRing): Promise<Made> {
  const { mesh, kind, number, now, random, wish = { where: 'file', curve: 'P-256' } } = asked
  if (wish.where === 'plugged') return plugged(asked, ring)
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

/** What members accept for it is its root, which is itself where nothing stands above: never one that the centre made. */
async function plugged(asked: AuthorityAsked, ring: KeyRing): Promise<Made> {
  const { mesh, kind, number, now, known = [], trustDomain } = asked
  if (kind !== 'root') throw unfit(`only a root can be brought along, and this is ${kind}`)
  const dir = ring.plugged
  if (dir === undefined) throw unfit('the centre was started without one: start it with --root-ca <directory>')
  const { keyRef, certificate, chain } = await takePluggedCa({ dir, mesh, trustDomain, number, now, known }, ring)
  const above = chain.map(certificatePem)
  const row: AuthorityRow = {
    ...{ mesh, id: newId(now), kind, state: 'prepared', certificate: certificatePem(certificate), keyRef },
    ...{ createdAt: now, stateAt: now, number, revision: 1, chain: above.length > 0 ? above.join('') : null },
    trusted: above.at(-1) ?? certificatePem(certificate),
  }
  return { row, certificate }
}

const unfit = (reason: string): Problem =>
  new Problem('invalid', `no CA that is brought along can be taken: ${reason}`, {
    violations: [{ path: 'where', reason }],
  })
