import type { Authority, CentreKeys } from '#control/centre.ts'
import { type KeyRing, openSigner } from '#control/keys/open-signer.ts'
import { type AuthorityRow, loadAuthorities, trustedBy } from '#control/store/authorities.ts'
import type { Database } from '#control/store/database.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Certificate, parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/**
 * The authorities of a mesh with their keys. Which of them is active is read from the store each time, so that every
 * process of a centre follows a rotation that another has made; a key is opened once.
 *
 * Both throw `conflict` where the key that a row names is missing or not the one of its certificate, and what
 * `openSigner` throws.
 */
export function authorityKeys(
  { db, mesh }: { readonly db: Database; readonly mesh: MeshName },
  ring: KeyRing,
): Pick<CentreKeys, 'active' | 'signerOf'> {
  const signers = new Map<string, Promise<Signer>>()
  const parsed = new Map<string, Certificate>()
  const signerOf = (row: Named): Promise<Signer> => {
    const known = signers.get(row.keyRef)
    if (known) return known
    const opened = openFor(row)
    signers.set(row.keyRef, opened)
    // One that failed is tried again: a passphrase may be mended, a key service come back.
    opened.catch(() => signers.delete(row.keyRef))
    return opened
  }
  return {
    signerOf,
    active: async (kind) => {
      const rows = await db.read((tx) => loadAuthorities(tx, mesh))
      const row = rows.find((one) => one.kind === kind && one.state === 'active')
      if (!row) throw new Problem('conflict', `the database holds no active ${kind} authority`)
      return authorityOf(row, certificateOf(row), await signerOf(row))
    },
  }

  function certificateOf({ id, kind, certificate }: AuthorityRow): Certificate {
    const made = parsed.get(id) ?? parseCertificate(certificate, `${kind} certificate`)
    parsed.set(id, made)
    return made
  }

  async function openFor({ kind, keyRef, certificate }: Named): Promise<Signer> {
    const signer = await openSigner(keyRef, ring).catch((cause: unknown) => {
      throw cause instanceof Problem && cause.kind === 'not-found' ? stranger(kind, keyRef, cause) : cause
    })
    const { spki } = parseCertificate(certificate, `${kind} certificate`).publicKey
    if (!Buffer.from(spki).equals(await signer.publicKeySpki())) throw stranger(kind, keyRef)
    return signer
  }
}

type Named = Pick<AuthorityRow, 'kind' | 'keyRef' | 'certificate'>

const stranger = (kind: string, keyRef: string, cause?: Problem): Problem =>
  new Problem(
    'conflict',
    `the sealed ${kind} key ${keyRef} ${cause ? 'is missing, or' : ''} is not the one that the database's ${kind} ` +
      'certificate was made with: start with the data directory (or DATABASE_URL) that belongs to these keys',
    { cause },
  )

const authorityOf = (row: AuthorityRow, certificate: Certificate, signer: Signer): Authority => ({
  id: row.id,
  number: row.number ?? 1,
  certificate,
  signer,
  chain: row.chain ? parseCertificates(row.chain, 'chain above the authority') : [],
  trusted: trustedBy(row),
})
