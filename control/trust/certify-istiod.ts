import type { Caller } from '#control/caller.ts'
import type { Centre } from '#control/centre.ts'
import { checkIssuingKey, leadingUp } from '#control/issue-intermediate.ts'
import { unknownCluster } from '#control/member-cluster.ts'
import { loadTrustedRoots } from '#control/store/authorities.ts'
import { type ClusterRow, loadClusterByName } from '#control/store/clusters.ts'
import { logIssued } from '#control/trust/log-issued.ts'
import { Problem } from '#mesh/model/problem.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { planIstiodCa } from '#mesh/trust/plan-issuing-ca.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

export type IstiodAsked = {
  readonly cluster: string
  /** PKCS#10, PEM: of a key that was made where the istiod is. */
  readonly csr: string
  readonly days: number
}

export type IstiodCa = {
  /** PEM. */
  readonly certificate: string
  /** PEM: itself and what leads up to the root, that left out. */
  readonly chain: string
  /** PEM of every root that members trust. */
  readonly roots: string
  readonly notAfter: Date
  readonly trustDomain: string
  readonly mesh: string
  readonly confined: boolean
}

/**
 * A CA for an istiod that stays in a cluster, for the cluster's own trust domain; in the log like any certificate. Throws
 * `not-found`, `conflict` for a cluster that is no member, `invalid` for a bad request.
 */
export async function certifyIstiod(centre: Centre, caller: Caller, asked: IstiodAsked): Promise<IstiodCa> {
  const { mesh } = centre
  const { row, roots } = await centre.db.read(async (tx) => {
    const row = memberOf(await loadClusterByName(tx, mesh, asked.cluster), asked.cluster)
    await checkIssuingKey(tx, centre, row, asked.csr)
    return { row, roots: await loadTrustedRoots(tx, mesh) }
  })
  const authority = await centre.keys.active('root')
  const plan = planIstiodCa({
    ...{ mesh, csr: asked.csr, trustDomain: parseTrustDomain(row.trustDomain), issuer: authority.certificate },
    ...{ now: new Date(centre.now()), serial: centre.random(16), lifeSeconds: asked.days * 24 * 60 * 60 },
  })
  const certificate = await issueCertificate(plan, authority.signer)
  await centre.db.transact(async (tx) => {
    const now = memberOf(await loadClusterByName(tx, mesh, row.name), row.name)
    if (now.trustDomain !== row.trustDomain)
      throw new Problem('conflict', `cluster "${row.name}" was given another trust domain meanwhile: ask again`)
    await logIssued(centre, tx, {
      ...{ caller, kind: 'istiod-ca', clusterId: row.id, cluster: row.name, trustDomain: row.trustDomain },
      ...{ authorityId: authority.id, certificate, detail: { kind: 'istiod-ca' } },
    })
  })
  return {
    certificate: certificatePem(certificate),
    chain: [certificate, ...leadingUp(authority)].map(certificatePem).join(''),
    ...{ roots: roots.join(''), notAfter: certificate.notAfter, trustDomain: row.trustDomain, mesh },
    confined: row.sharedDomain !== true,
  }
}

function memberOf(row: ClusterRow | undefined, name: string): ClusterRow {
  if (!row) throw unknownCluster(name)
  if (row.state === 'joined') return row
  throw new Problem('conflict', `cluster "${name}" is ${row.state}, and only a member's istiod is given a CA`)
}
