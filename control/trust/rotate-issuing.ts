import { type Caller, callerText, centreCaller } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { moved, unknownCluster } from '#control/member-cluster.ts'
import { newId } from '#control/new-id.ts'
import { once } from '#control/once.ts'
import { loadLastIssuing } from '#control/store/certificates.ts'
import { loadCluster, loadClusterByName, updateCluster } from '#control/store/clusters.ts'
import { isDuplicate, type Tx } from '#control/store/database.ts'
import { insertRotation, loadRotation, openSlot, type RotationRow, updateRotation } from '#control/store/rotations.ts'
import { loadRelayTrust } from '#control/trust/facts.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Missing } from '#mesh/trust/plan-rotation.ts'

export type IssuingAsked = {
  readonly cluster: string
  readonly reason?: string | undefined
  /** The caller's Idempotency-Key. */
  readonly nonce?: string | undefined
}

/**
 * Asks one cluster's relay for a new issuing key. Its root stays, so nothing has to be published first and nothing waits
 * for it: it is done when the relay serves under the new one. Throws `not-found`, `conflict` where the cluster is no member
 * or one of its rotations runs.
 */
export async function startIssuingRotation(centre: Centre, caller: Caller, asked: IssuingAsked): Promise<RotationRow> {
  const { mesh } = centre
  const { cluster, reason = '' } = asked
  try {
    const row = await centre.db.transact(async (tx) => {
      const request = { kind: 'issuing', cluster, reason }
      const repeatable = { caller, action: 'rotation.start', nonce: asked.nonce, request }
      const { id } = await once(centre, tx, repeatable, async () => ({ id: await begin(tx) }))
      return loadRotation(tx, mesh, id)
    })
    if (!row) throw new Problem('internal', 'a rotation that was begun is not stored')
    centre.bus.announce({ kind: 'outbox' })
    return row
  } catch (error) {
    if (isDuplicate(error))
      throw new Problem('conflict', `the issuing CA of cluster "${cluster}" is being rotated already: see its status`)
    throw error
  }

  async function begin(tx: Tx): Promise<string> {
    const row = await loadClusterByName(tx, mesh, cluster)
    if (!row) throw unknownCluster(cluster)
    if (row.state !== 'joined')
      throw new Problem('conflict', `cluster "${cluster}" is ${row.state}: it has no issuing CA`)
    const now = centre.now()
    const id = newId(now)
    moved(row, await updateCluster(tx, row, { issuingBefore: now }))
    await insertRotation(tx, {
      ...{ mesh, id, kind: 'issuing', slot: openSlot(row.id), step: 'active', fromId: '', toId: row.id },
      ...{ startedAt: now, stepAt: now, seq: 0, by: callerText(caller), reason, forced: '[]', revision: 1 },
    })
    const object = `issuing CA of cluster ${cluster}`
    await audited(centre, tx, caller, { action: 'rotation.start', object, detail: { id, reason } })
    await askPublish(centre, tx, { cause: `new issuing CA of ${cluster}`, author: callerText(caller) })
    return id
  }
}

/** What the rotation of an issuing CA waits for. */
export async function issuingMissing(centre: Centre, tx: Tx, row: RotationRow): Promise<Missing[]> {
  const cluster = await loadCluster(tx, centre.mesh, row.toId)
  if (cluster?.state !== 'joined') return []
  const relay = (await loadRelayTrust(tx, centre.mesh, centre.now())).find((one) => one.cluster === cluster.name)
  if (relay?.silent !== undefined) return [{ cluster: cluster.name, what: 'unreachable', detail: relay.silent }]
  const last = await loadLastIssuing(tx, centre.mesh, cluster.id)
  const isNew = last !== undefined && last.issuedAt >= row.startedAt
  const inUse = relay?.said?.issuing?.notAfter ?? 0
  // Certificates tell whole seconds.
  if (isNew && inUse >= Math.floor(last.notAfter / 1000) * 1000) return []
  const detail = isNew
    ? 'its relay was given the new one and does not use it yet'
    : 'its relay has not asked for it yet'
  return [{ cluster: cluster.name, what: 'issuing', detail }]
}

/** Ends it once the relay uses what it was given, or the cluster is no member any more. */
export async function stepIssuing(centre: Centre, row: RotationRow): Promise<boolean> {
  if ((await centre.db.read((tx) => issuingMissing(centre, tx, row))).length > 0) return false
  return centre.db.transact(async (tx) => {
    const done = await updateRotation(tx, row, { slot: row.id, step: 'revoked', stepAt: centre.now() })
    if (!done) return false
    await audited(centre, tx, centreCaller, {
      ...{ action: 'rotation.done', object: `issuing CA of cluster ${row.toId}`, detail: { id: row.id } },
    })
    return true
  })
}
