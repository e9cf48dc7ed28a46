import type { ClusterCaller } from '#control/caller.ts'
import { type Authority, audited, type Centre } from '#control/centre.ts'
import { checkRelayAddresses } from '#control/relay-addresses.ts'
import { loadTrustedRoots } from '#control/store/authorities.ts'
import { countIssued, insertCertificate } from '#control/store/certificates.ts'
import { type ClusterRow, loadCluster } from '#control/store/clusters.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Certificate, certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { type IssuePlan, planIssuingCa, planRelayServing } from '#mesh/trust/plan-issuing-ca.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import type { SignAnswer, SignRequest } from '#mesh/wire/join.ts'

/** A relay asks for two certificates a fortnight; this many an hour is a relay that restarts over and over. */
const certificatesPerHourMax = 60

/**
 * The certificate that a member asks for: its issuing CA, confined to the cluster's own trust domain, or its relay's
 * serving certificate. Of the request only the key counts, names come from the centre's record of who asks. Nothing is
 * answered that was not read back, checked and logged.
 *
 * Throws `forbidden` for an address or name that is not a relay's, `invalid` for a bad request, `too-many`.
 */
export async function issueForCluster(
  centre: Centre,
  caller: ClusterCaller,
  request: SignRequest,
): Promise<SignAnswer> {
  const { row, roots } = await centre.db.read(async (tx) => {
    const row = await loadCluster(tx, centre.mesh, caller.id)
    if (row?.state !== 'joined') throw new Problem('forbidden', `cluster "${caller.name}" is no member any more`)
    const issued = await countIssued(tx, centre.mesh, caller.id, centre.now() - 60 * 60_000)
    if (issued >= certificatesPerHourMax) throw tooMany(caller.name)
    return { row, roots: await loadTrustedRoots(tx, centre.mesh) }
  })
  const authority = request.kind === 'issuing' ? centre.keys.root : centre.keys.controlPlane
  const certificate = await issueCertificate(planFor(centre, row, request), authority.signer)
  await logged(centre, caller, { kind: request.kind, certificate, authority })
  return {
    chain: certificatePem(certificate),
    roots: request.kind === 'issuing' ? roots : [certificatePem(authority.certificate)],
    notAfter: certificate.notAfter.getTime(),
    time: centre.now(),
  }
}

function planFor(centre: Centre, row: ClusterRow, request: SignRequest): IssuePlan {
  const asked = {
    csr: request.csr,
    trustDomain: parseTrustDomain(row.trustDomain),
    now: new Date(centre.now()),
    serial: centre.random(16),
  }
  if (request.kind === 'issuing')
    return planIssuingCa({ ...asked, issuer: centre.keys.root.certificate, mesh: centre.mesh })
  checkRelayAddresses(request.ips ?? [], centre)
  return planRelayServing({
    ...asked,
    issuer: centre.keys.controlPlane.certificate,
    dns: request.dnsNames ?? [],
    ips: request.ips ?? [],
    reserved: centre.reservedIps,
  })
}

async function logged(
  centre: Centre,
  caller: ClusterCaller,
  made: { readonly kind: SignRequest['kind']; readonly certificate: Certificate; readonly authority: Authority },
): Promise<void> {
  const serial = Buffer.from(made.certificate.serial).toString('hex')
  const notAfter = made.certificate.notAfter.getTime()
  await centre.db.transact(async (tx) => {
    await insertCertificate(tx, {
      mesh: centre.mesh,
      serial,
      clusterId: caller.id,
      kind: made.kind,
      spkiSha256: sha256Hex(made.certificate.publicKey.spki),
      authorityId: made.authority.id,
      issuedAt: centre.now(),
      notAfter,
    })
    await audited(centre, tx, caller, {
      action: 'certificate.issue',
      object: `cluster ${caller.name}`,
      detail: { kind: made.kind, serial, notAfter },
    })
  })
}

const tooMany = (cluster: string): Problem =>
  new Problem(
    'too-many',
    `cluster "${cluster}" was given ${certificatesPerHourMax} certificates within an hour: its relay restarts over and over`,
    { extra: { retryAfterSeconds: 600 } },
  )
