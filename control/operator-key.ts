import { operatorKeyPrefix } from '#control/authenticate.ts'
import { callerText, type Operator } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { secretFor } from '#control/join-cluster.ts'
import { newId } from '#control/new-id.ts'
import { usedOtherwise } from '#control/once.ts'
import {
  countLiveAdmins,
  loadOperatorKey,
  loadOperatorKeyByHash,
  type OperatorKeyRow,
  type Role,
  revokeOperatorKey,
  saveOperatorKey,
} from '#control/store/operator-keys.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

export type NewOperatorKey = {
  readonly name: string
  readonly role: Role
  /** Unix ms; absent = until revoked. */
  readonly expiresAt?: number | undefined
  /** The caller's Idempotency-Key: the same key again gives the same answer. */
  readonly nonce?: string | undefined
}

/** Makes an operator key of 256 bits and shows it once; only its hash is kept. Throws `conflict`, `invalid`. */
export async function createOperatorKey(
  centre: Centre,
  caller: Operator,
  asked: NewOperatorKey,
): Promise<{ readonly row: OperatorKeyRow; readonly key: string }> {
  const now = centre.now()
  if (asked.expiresAt !== undefined && asked.expiresAt <= now)
    throw new Problem('invalid', 'expiresAt lies in the past', {
      violations: [{ path: 'expiresAt', reason: 'lies in the past' }],
    })
  const key = operatorKeyPrefix + secretFor(centre, ['operator-key', callerText(caller), asked.nonce])
  const hash = sha256Hex(key)
  const row = await centre.db.transact(async (tx) => {
    const old = await loadOperatorKeyByHash(tx, hash)
    if (old) {
      if (old.name !== asked.name || old.role !== asked.role || old.expiresAt !== (asked.expiresAt ?? null))
        throw usedOtherwise()
      return old
    }
    const made: OperatorKeyRow = {
      mesh: centre.mesh,
      id: newId(now),
      name: asked.name,
      hash,
      role: asked.role,
      createdAt: now,
      expiresAt: asked.expiresAt ?? null,
      revokedAt: null,
    }
    await saveOperatorKey(tx, made)
    await audited(centre, tx, caller, {
      action: 'operator-key.create',
      object: `operator key ${made.id}`,
      detail: { name: made.name, role: made.role, expiresAt: made.expiresAt },
    })
    return made
  })
  return { row, key }
}

/**
 * Revokes a key at once; again: the same. Throws `not-found`, and `conflict` for the last key of an administrator:
 * nobody could make another.
 */
export async function removeOperatorKey(centre: Centre, caller: Operator, id: string): Promise<OperatorKeyRow> {
  const now = centre.now()
  return centre.db.transact(async (tx) => {
    const row = await loadOperatorKey(tx, centre.mesh, id)
    if (!row) throw new Problem('not-found', `there is no operator key ${id.slice(0, 80)}`)
    if (row.revokedAt !== null) return row
    if (row.role === 'admin' && (await countLiveAdmins(tx, centre.mesh, now)) <= 1)
      throw new Problem('conflict', `"${row.name}" is the last live key of an administrator: make another one first`)
    await revokeOperatorKey(tx, centre.mesh, id, now)
    await audited(centre, tx, caller, { action: 'operator-key.revoke', object: `operator key ${id}` })
    return { ...row, revokedAt: now }
  })
}
