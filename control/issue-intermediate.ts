import type { ClusterCaller } from '#control/caller.ts'
import type { Authority, Centre } from '#control/centre.ts'
import { checkRelayAddresses } from '#control/relay-addresses.ts'
import { loadTrustedRoots } from '#control/store/authorities.ts'
import { countIssued, loadIssuingOf } from '#control/store/certificates.ts'
import { type ClusterRow, loadCluster } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadStanding } from '#control/store/revocations.ts'
import { logIssued } from '#control/trust/log-issued.ts'
import { type SignPool, signPool } from '#control/trust/sign-pool.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { parseClusterId, parseClusterName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Certificate, certificatePem } from '#mesh/trust/certificate.ts'
import { parseCsr } from '#mesh/trust/csr.ts'
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
 * Throws `forbidden` for an address or name that is not a relay's, `invalid` for a bad request and for an issuing key that
 * was another trust domain's, `too-many`.
 */
export const issueForCluster = (centre: Centre, caller: ClusterCaller, request: SignRequest): Promise<SignAnswer> =>
  poolOf(centre).run(caller.name, () => issueNow(centre, caller, request))

/** After an outage of the centre every relay comes at once, with a key service behind that has bounds of its own. */
const bounds = { running: 8, waiting: 256 }
const pools = new WeakMap<Centre['keys'], SignPool>()

function poolOf({ keys }: Centre): SignPool {
  const pool = pools.get(keys) ?? signPool(bounds)
  pools.set(keys, pool)
  return pool
}

async function issueNow(centre: Centre, caller: ClusterCaller, request: SignRequest): Promise<SignAnswer> {
  const { row, roots } = await centre.db.read(async (tx) => {
    const row = await loadCluster(tx, centre.mesh, caller.id)
    if (row?.state !== 'joined') throw noMember(caller.name)
    const issued = await countIssued(tx, centre.mesh, caller.id, centre.now() - 60 * 60_000)
    if (issued >= certificatesPerHourMax) throw tooMany(caller.name)
    if (request.kind === 'issuing') await checkIssuingKey(tx, centre, row, request.csr)
    return { row, roots: await loadTrustedRoots(tx, centre.mesh) }
  })
  const authority = await centre.keys.active(request.kind === 'issuing' ? 'root' : 'control-plane')
  const certificate = await issueCertificate(planFor(centre, row, { request, authority }), authority.signer)
  await logged(centre, row, { kind: request.kind, certificate, authority })
  return {
    chain: [certificate, ...leadingUp(authority)].map(certificatePem).join(''),
    roots: request.kind === 'issuing' ? roots : [certificatePem(authority.certificate)],
    notAfter: certificate.notAfter.getTime(),
    time: centre.now(),
    ...(request.kind === 'issuing' ? { trustDomain: row.trustDomain, generation: row.generation } : {}),
  }
}

/**
 * One key speaks for one trust domain: another cluster's would make two of them one, and one whose issuer was revoked may
 * be known, whatever certificate it has. Throws `invalid`.
 */
export async function checkIssuingKey(tx: Tx, { mesh }: Centre, row: ClusterRow, csr: string): Promise<void> {
  const before = await loadIssuingOf(tx, mesh, sha256Hex(parseCsr(csr).spki))
  if (before.length === 0) return
  const revokedAt = (await loadStanding(tx, mesh)).find(
    ({ kind, cluster }) => kind === 'issuer' && cluster === row.name,
  )?.at
  const isRevoked = before.some(({ issuedAt }) => revokedAt !== undefined && issuedAt <= revokedAt)
  if (!isRevoked && before.every(({ clusterId }) => clusterId === row.id)) return
  const reason = `its key ${isRevoked ? 'was revoked with the issuer that had it' : 'is that of another cluster'}: make a new one`
  throw new Problem('invalid', `the certificate request is refused: ${reason}`, {
    violations: [{ path: 'csr', reason }],
  })
}

/** Below a root of the user's own stands what leads up to it, that root itself left out. */
export const leadingUp = ({ certificate, chain }: Pick<Authority, 'certificate' | 'chain'>): readonly Certificate[] =>
  chain.length === 0 ? [] : [certificate, ...chain.slice(0, -1)]

function planFor(
  centre: Centre,
  row: ClusterRow,
  { request, authority }: { readonly request: SignRequest; readonly authority: Authority },
): IssuePlan {
  const asked = {
    csr: request.csr,
    trustDomain: parseTrustDomain(row.trustDomain),
    now: new Date(centre.now()),
    serial: centre.random(16),
    issuer: authority.certificate,
  }
  if (request.kind === 'issuing') return planIssuingCa({ ...asked, mesh: centre.mesh })
  checkRelayAddresses(request.ips ?? [], centre)
  return planRelayServing({
    ...asked,
    dns: request.dnsNames ?? [],
    ips: request.ips ?? [],
    reserved: centre.reservedIps,
  })
}

async function logged(
  centre: Centre,
  row: ClusterRow,
  made: { readonly kind: SignRequest['kind']; readonly certificate: Certificate; readonly authority: Authority },
): Promise<void> {
  const caller = { kind: 'cluster', id: parseClusterId(row.id), name: parseClusterName(row.name) } as const
  await centre.db.transact(async (tx) => {
    // What was true when it was signed may have ended meanwhile: one that left or was revoked is given nothing.
    const now = await loadCluster(tx, centre.mesh, row.id)
    if (now?.state !== 'joined' || now.trustDomain !== row.trustDomain) throw noMember(row.name)
    await logIssued(centre, tx, {
      ...{ caller: { ...caller, mesh: centre.mesh, expiresAt: 0 }, kind: made.kind, clusterId: row.id },
      ...{ cluster: row.name, trustDomain: row.trustDomain },
      ...{ authorityId: made.authority.id, certificate: made.certificate, detail: { kind: made.kind } },
    })
  })
}

const noMember = (name: string): Problem => new Problem('forbidden', `cluster "${name}" is no member any more`)

const tooMany = (cluster: string): Problem =>
  new Problem(
    'too-many',
    `cluster "${cluster}" was given ${certificatesPerHourMax} certificates within an hour: its relay restarts over and over`,
    { extra: { retryAfterSeconds: 600 } },
  )
