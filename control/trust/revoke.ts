import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { moved, unknownCluster } from '#control/member-cluster.ts'
import { once } from '#control/once.ts'
import { type ClusterRow, loadClusterByName, loadClusters, updateCluster } from '#control/store/clusters.ts'
import { LostRace, type Tx } from '#control/store/database.ts'
import { loadForeignDomain } from '#control/store/foreign-domains.ts'
import { deleteJoinTokens } from '#control/store/join-tokens.ts'
import {
  insertRevocation,
  loadRevocation,
  loadStanding,
  type RevocationRow,
  undoRevocationRow,
} from '#control/store/revocations.ts'
import { changeTrust, type TrustMoment } from '#control/trust/bundle.ts'
import { nextCut, placesOpenTo } from '#control/trust/cuts.ts'
import { othersOf, sharedByOthers } from '#control/trust/shared-domain.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import { type MeshName, parseClusterName, trustDomainOf } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { formatSpiffeId, parseSpiffeId, parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

export type RevocationAsked = {
  readonly kind: Exclude<RevocationRow['kind'], 'foreign'>
  /** The cluster's name; of kind `workload` its SPIFFE id. */
  readonly subject: string
  readonly reason: string
  /** The caller's Idempotency-Key. */
  readonly nonce?: string | undefined
}

type Outcome = { readonly row: RevocationRow; readonly voided?: string }

/**
 * Shuts a cluster, the issuing CA it has now, or one workload out of the mesh. When this resolves the bundle that says so
 * is in force and on its way to every relay.
 *
 * - `cluster`: nobody accepts its trust domain any more, its relay's key and tokens open nothing, nothing of it is compiled.
 * - `issuer`: the cluster goes on under the next generation of its trust domain, with certificates it has yet to ask for;
 *   what its issuing CA of now has signed or will sign counts nowhere.
 * - `workload`: one SPIFFE id is refused; others of its cluster are not touched.
 *
 * The same again while it stands gives the same revocation. Throws `not-found`, `conflict` where the state of the cluster
 * forbids it or others share its trust domain, `invalid` for what is no SPIFFE id of a member.
 */
export async function revoke(centre: Centre, caller: Caller, asked: RevocationAsked): Promise<RevocationRow> {
  const { kind, subject, reason, nonce } = asked
  const { row, voided } = await changeTrust(centre, async (moment): Promise<Outcome> => {
    const { tx } = moment
    let voided: string | undefined
    const request = { kind, subject, reason }
    const { cut } = await once(centre, tx, { caller, action: 'revocation.make', nonce, request }, async () => {
      const standing = await standingFor(tx, centre.mesh, asked)
      if (standing) return { cut: standing.cut }
      const made = await make(centre, caller, asked, moment)
      voided = made.voided
      return { cut: made.row.cut }
    })
    const row = await loadRevocation(tx, centre.mesh, cut)
    if (!row) throw new Problem('internal', `revocation ${cut} was made and is not stored`)
    return { row, ...(voided === undefined ? {} : { voided }) }
  })
  if (voided !== undefined) centre.bus.announce({ kind: 'cluster-void', clusterId: voided })
  centre.bus.announce({ kind: 'outbox' })
  return row
}

/** One in force that says the same. An issuer may be revoked again: each time it is another one. */
async function standingFor(
  tx: Tx,
  mesh: MeshName,
  { kind, subject }: RevocationAsked,
): Promise<RevocationRow | undefined> {
  if (kind === 'issuer') return undefined
  const row = (await loadStanding(tx, mesh)).find((one) => one.kind === kind && one.subject === subject)
  if (!row || kind === 'workload') return row
  // Of a cluster that was removed and came back since, the revocation is of its former life.
  return (await loadClusterByName(tx, mesh, subject))?.trustDomain === row.trustDomain ? row : undefined
}

async function make(
  centre: Centre,
  caller: Caller,
  asked: RevocationAsked,
  { tx, now }: TrustMoment,
): Promise<{ readonly row: RevocationRow; readonly voided?: string }> {
  const { mesh } = centre
  const { kind, subject, reason } = asked
  const cluster = kind === 'workload' ? undefined : await memberOf(tx, mesh, subject)
  const owner = cluster ?? (await ownerOf(tx, mesh, subject))
  const trustDomain = parseTrustDomain(owner.trustDomain)
  const others = cluster ? await othersOf(tx, mesh, cluster) : []
  if (cluster && others.length > 0) throw sharedByOthers(cluster, others)
  const exports = await placesOpenTo(tx, mesh, trustDomain)
  const cut = await nextCut(tx, mesh)
  const row: RevocationRow = {
    ...{ mesh, cut, kind, subject, cluster: owner.name, trustDomain, exports: canonicalJson(exports) },
    ...{ reason, by: callerText(caller), at: now, undoneAt: null, revision: 1 },
  }
  await insertRevocation(tx, row)
  if (cluster && kind !== 'workload') await shutOut(centre, tx, cluster, kind)
  const object = `${kind} ${subject}`
  await audited(centre, tx, caller, { action: 'revocation.make', object, detail: { cut, trustDomain, reason } })
  await askPublish(centre, tx, { cause: `${kind} ${subject} revoked`, author: callerText(caller) })
  return { row, ...(cluster ? { voided: cluster.id } : {}) }
}

/** What stands in the cluster's row decides about its tokens, its relay and everybody's configs. */
async function shutOut(centre: Centre, tx: Tx, cluster: ClusterRow, kind: 'cluster' | 'issuer'): Promise<void> {
  if (kind === 'cluster') {
    await deleteJoinTokens(tx, centre.mesh, cluster.id)
    // Its key and report stay: undone, it is a member again as it was.
    moved(cluster, await updateCluster(tx, cluster, { state: 'revoked' }))
    return
  }
  moved(cluster, await updateCluster(tx, cluster, nextGeneration(centre.mesh, cluster)))
}

/** Under what a cluster goes on whose issuer was revoked. */
export function nextGeneration(mesh: MeshName, { name, generation: last }: Pick<ClusterRow, 'name' | 'generation'>) {
  const generation = last + 1
  const trustDomain = parseTrustDomain(trustDomainOf(parseClusterName(name), mesh, generation))
  return { generation, trustDomain, sharedDomain: null }
}

async function memberOf(tx: Tx, mesh: MeshName, name: string): Promise<ClusterRow> {
  const row = await loadClusterByName(tx, mesh, parseClusterName(name))
  if (!row) throw unknownCluster(name)
  if (row.state === 'joined') return row
  const why = {
    expected: 'has not joined: there is nothing to revoke; withdraw it with: isthmus cluster remove',
    left: 'has left: its trust domain is admitted nowhere',
    revoked: 'is revoked already',
  }[row.state]
  throw new Problem('conflict', `cluster "${name}" ${why}`)
}

/** The member that a workload's id is of; one of another mesh is of no cluster. */
async function ownerOf(tx: Tx, mesh: MeshName, id: string): Promise<Pick<ClusterRow, 'name' | 'trustDomain'>> {
  const { trustDomain } = parseSpiffeId(id)
  if (formatSpiffeId(parseSpiffeId(id)) !== id)
    throw new Problem('invalid', `"${id.slice(0, 200)}" is not how this SPIFFE id is written`)
  if (await loadForeignDomain(tx, mesh, trustDomain)) return { name: '', trustDomain }
  let other: ClusterRow | undefined
  for (let after = ''; ; ) {
    const page = await loadClusters(tx, mesh, after, 500)
    const rows = page.filter((one) => one.trustDomain === trustDomain)
    // Of those that share a trust domain any stands for all: the id is denied wherever it is shown.
    const row = rows.find(({ state }) => state === 'joined')
    if (row) return row
    other ??= rows[0]
    const last = page.at(-1)
    if ((page.length < 500 || !last) && other)
      throw new Problem('conflict', `cluster "${other.name}" of this id is ${other.state}: nobody admits it`)
    if (page.length < 500 || !last)
      throw new Problem(
        'not-found',
        `neither a cluster of the mesh nor another mesh here has the trust domain "${trustDomain}" of this id`,
      )
    after = last.name
  }
}

/**
 * Takes a revocation back where that is safe: a cluster is a member again under the trust domain it had, a workload is
 * admitted again. Throws `not-found`, `conflict` for an issuer (its cluster has another by now, and whoever has the key of
 * the old one still has it) and for a cluster that was removed since.
 */
export async function undoRevocation(
  centre: Centre,
  caller: Caller,
  { cut, reason }: { readonly cut: number; readonly reason: string },
): Promise<RevocationRow> {
  const done = await changeTrust(centre, async ({ tx, now }) => {
    const row = await loadRevocation(tx, centre.mesh, cut)
    if (!row) throw new Problem('not-found', `there is no revocation ${cut}: list them with GET /v1/revocations`)
    if (row.undoneAt !== null) return row
    if (row.kind === 'issuer')
      throw new Problem(
        'conflict',
        `the issuer of cluster "${row.cluster}" stays revoked: the cluster has a new one, and the old key may be known`,
      )
    if (row.kind === 'foreign')
      throw new Problem(
        'conflict',
        `trust domain "${row.subject}" was taken out with its roots: isthmus trust federate ${row.subject} -f <bundle>`,
      )
    if (row.kind === 'cluster') await readmit(tx, centre.mesh, row)
    const undone = await undoRevocationRow(tx, row, now)
    if (!undone) throw new LostRace(`revocation ${cut} moved on`)
    const object = `${row.kind} ${row.subject}`
    await audited(centre, tx, caller, { action: 'revocation.undo', object, detail: { cut, reason } })
    await askPublish(centre, tx, {
      cause: `revocation of ${row.kind} ${row.subject} undone`,
      author: callerText(caller),
    })
    return undone
  })
  centre.bus.announce({ kind: 'outbox' })
  return done
}

async function readmit(tx: Tx, mesh: MeshName, row: RevocationRow): Promise<void> {
  const cluster = await loadClusterByName(tx, mesh, row.cluster)
  if (cluster?.state !== 'revoked' || cluster.trustDomain !== row.trustDomain)
    throw new Problem(
      'conflict',
      `cluster "${row.cluster}" is ${cluster?.state ?? 'gone'} by now: there is nothing to undo`,
    )
  moved(cluster, await updateCluster(tx, cluster, { state: cluster.keyThumbprint === null ? 'expected' : 'joined' }))
}
