import type { Centre } from '#control/centre.ts'
import { type AuthorityRow, loadAuthorities } from '#control/store/authorities.ts'
import { countIssuedUnder } from '#control/store/certificates.ts'
import { loadMembers } from '#control/store/clusters.ts'
import { loadMesh } from '#control/store/meshes.ts'
import { loadStanding } from '#control/store/revocations.ts'
import { loadBundle } from '#control/trust/bundle.ts'
import { loadClaims } from '#control/trust/claims.ts'
import { loadRelayTrust, type MemberTrust } from '#control/trust/facts.ts'
import { showForeign } from '#control/trust/foreign.ts'
import { fingerprintOf } from '#mesh/trust/authority-digest.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { type Standing, standingAt } from '#mesh/trust/due.ts'
import { profiles } from '#mesh/trust/profile.ts'

/** An authority as people are shown it. */
export type ShownAuthority = {
  readonly row: AuthorityRow
  readonly number: number
  readonly sha256: string
  readonly keyKind: string
  readonly signer: 'file' | 'kms'
  readonly notBefore: Date
  readonly notAfter: Date
  /** Certificates under it that have not ended. */
  readonly issuedUnder: number
}

export async function showAuthorities(centre: Centre): Promise<ShownAuthority[]> {
  const { rows, counts } = await centre.db.read(async (tx) => ({
    rows: await loadAuthorities(tx, centre.mesh),
    counts: await countIssuedUnder(tx, centre.mesh, centre.now()),
  }))
  return rows.map((row) => {
    const certificate = parseCertificate(row.certificate)
    return {
      ...{ row, number: row.number ?? 1, sha256: fingerprintOf(certificate), keyKind: certificate.publicKey.kind },
      signer: row.keyRef.startsWith('kms:') ? 'kms' : 'file',
      ...{ notBefore: certificate.notBefore, notAfter: certificate.notAfter, issuedUnder: counts.get(row.id) ?? 0 },
    }
  })
}

const issuingLifeMs = profiles['issuing-ca'].lifeSecondsMax * 1000

/** How far the life of a cluster's issuing CA has run; it says only when it ends. */
function issuingStanding(said: NonNullable<MemberTrust['said']>['issuing'], now: number): Standing | undefined {
  if (!said) return undefined
  return standingAt(new Date(said.notAfter - issuingLifeMs), new Date(said.notAfter), new Date(now))
}

/** All of the mesh's trust at a glance, but for its authorities and rotations. */
export function showTrust(centre: Centre) {
  const now = centre.now()
  return centre.db.read(async (tx) => {
    const inForce = await loadBundle(tx, centre.mesh)
    const trust = new Map((await loadRelayTrust(tx, centre.mesh, now)).map((one) => [one.cluster, one]))
    const members = await loadMembers(tx, centre.mesh)
    const claims = await loadClaims(tx, members)
    return {
      sharedDomain: (await loadMesh(tx, centre.mesh))?.sharedDomain ?? null,
      bundle: inForce ? { seq: inForce.link.seq, digest: inForce.link.digest, at: inForce.link.at } : null,
      clusters: members.map((row) => {
        const { said, silent } = trust.get(row.name) ?? {}
        const standing = issuingStanding(said?.issuing ?? null, now)
        return {
          row,
          said,
          silent,
          standing,
          confined: row.sharedDomain !== true,
          claims: claims.get(row.name) ?? null,
        }
      }),
      foreign: await showForeign(tx, centre.mesh),
      standing: await loadStanding(tx, centre.mesh),
    }
  })
}
