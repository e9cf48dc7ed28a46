import { type Caller, callerText, type centreCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { insertCertificate } from '#control/store/certificates.ts'
import type { Tx } from '#control/store/database.ts'
import type { CertificateRow } from '#control/store/schema/certificate.ts'
import { appendIssuance } from '#control/trust/issuances.ts'
import { type Json, sha256Hex } from '#mesh/model/canonical.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'

export type Signed = {
  readonly caller: Caller | typeof centreCaller
  readonly kind: CertificateRow['kind']
  readonly clusterId: string
  readonly cluster: string
  readonly trustDomain: string
  readonly authorityId: string
  readonly certificate: Certificate
  readonly detail: { readonly [key: string]: Json }
}

/** Notes a certificate in the index (how many, for whom), the log that nobody can change unseen, and the audit. */
export async function logIssued(centre: Centre, tx: Tx, one: Signed): Promise<void> {
  const { mesh } = centre
  const { caller, kind, clusterId, cluster, trustDomain, authorityId, certificate } = one
  const at = centre.now()
  const serial = Buffer.from(certificate.serial).toString('hex')
  const notAfter = certificate.notAfter.getTime()
  const spkiSha256 = sha256Hex(certificate.publicKey.spki)
  await insertCertificate(tx, { mesh, serial, clusterId, kind, spkiSha256, authorityId, issuedAt: at, notAfter })
  const requester = typeof caller === 'string' ? caller : callerText(caller)
  await appendIssuance(tx, mesh, { at, kind, requester, cluster, trustDomain, authority: authorityId, certificate })
  const object = cluster === '' ? 'centre' : `cluster ${cluster}`
  await audited(centre, tx, caller, {
    action: 'certificate.issue',
    object,
    detail: { ...one.detail, serial, notAfter },
  })
}
