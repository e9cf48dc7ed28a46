import { createHmac } from 'node:crypto'
import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { networkFault } from '#control/held-network.ts'
import { keyFromJwk } from '#control/jwt.ts'
import { moved, unknownCluster } from '#control/member-cluster.ts'
import { type ClusterRow, loadCluster, loadClusterByName, updateCluster } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { loadJoinToken, redeemJoinToken, saveJoinToken } from '#control/store/join-tokens.ts'
import { lockStream, writeItems } from '#control/store/stream-writes.ts'
import { loadStream, type StreamRef } from '#control/store/streams.ts'
import { canonicalJson, sha256Hex } from '#mesh/model/canonical.ts'
import { parseClusterId, parseClusterName, parseMeshName, parseNetworkName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { thumbprintOf } from '#mesh/wire/assertion.ts'
import type { JoinAnswer, JoinRequest } from '#mesh/wire/join.ts'
import { formatJoinToken } from '#mesh/wire/join-token.ts'
import { reportStream } from '#mesh/wire/stream.ts'
import { checkVersion } from '#mesh/wire/version.ts'

const tokenLifeMs = 60 * 60_000

/** A join token as it is shown once. */
export type NewJoinToken = {
  readonly token: string
  readonly cluster: string
  readonly clusterId: string
  readonly expiresAt: number
}

/**
 * Makes a single-use join token for an existing cluster: 256 bits, stored as a hash, one hour. With a `nonce` (the
 * caller's Idempotency-Key) the same request gives the same token, derived again instead of kept. `caSha256` goes into
 * the token where relays have to be told whom to trust. Throws `not-found`, or `conflict` for a cluster that left.
 */
export async function createJoinToken(
  centre: Centre,
  caller: Caller,
  asked: { readonly cluster: string; readonly caSha256?: string | undefined; readonly nonce?: string | undefined },
): Promise<NewJoinToken> {
  return centre.db.transact(async (tx) => {
    const row = await loadClusterByName(tx, centre.mesh, asked.cluster)
    if (!row) throw unknownCluster(asked.cluster)
    if (row.state === 'left' || row.state === 'revoked')
      throw new Problem(
        'conflict',
        row.state === 'left'
          ? `cluster "${row.name}" has left: bring it back first (isthmus cluster create)`
          : `cluster "${row.name}" is revoked: undo that, or remove and create it, before it can join`,
      )
    const secret = secretFor(centre, ['join-token', callerText(caller), row.id, asked.nonce])
    const hash = sha256Hex(secret)
    const now = centre.now()
    const old = await loadJoinToken(tx, hash)
    const expiresAt = old?.expiresAt ?? now + tokenLifeMs
    if (!old) {
      await saveJoinToken(tx, {
        hash,
        mesh: centre.mesh,
        clusterId: row.id,
        createdAt: now,
        expiresAt,
        redeemedAt: null,
        redeemedThumbprint: null,
      })
      await audited(centre, tx, caller, { action: 'join-token.create', object: `cluster ${row.name}` })
    }
    const caSha256 = asked.caSha256 === undefined ? {} : { caSha256: asked.caSha256 }
    const token = formatJoinToken({ url: centre.url, token: secret, cluster: row.name, ...caSha256 })
    return { token, cluster: row.name, clusterId: row.id, expiresAt }
  })
}

/** 256 bits, base64url: random, or the same again for the same caller and nonce. */
export function secretFor(centre: Centre, parts: readonly (string | undefined)[]): string {
  if (parts.at(-1) === undefined) return Buffer.from(centre.random(32)).toString('base64url')
  return createHmac('sha256', centre.keys.secret)
    .update(canonicalJson([centre.mesh, ...parts.map((part) => part ?? null)]))
    .digest('base64url')
}

/**
 * Makes the bearer of a join token a member. The same token with the same key within its hour gives the same answer.
 * A member that joins anew (its relay lost its key) keeps its trust domain; its former key and tokens are void at once.
 *
 * Throws `forbidden` for a token that is unknown, expired or another cluster's and for a network of others that the
 * operator has not named for it (the token is good for another try then), `conflict` for one that another key has
 * spent and for a relay too old or too new, `invalid` for a key that is no point of its curve or a bad network name.
 */
export async function joinCluster(centre: Centre, request: JoinRequest): Promise<JoinAnswer> {
  checkVersion(request.proto, 'relay')
  const network = parseNetworkName(request.network)
  const thumbprint = checkedThumbprint(request)
  const hash = sha256Hex(request.token)
  const { row, voided } = await centre.db.transact(async (tx) => {
    const token = await loadJoinToken(tx, hash)
    const old = token && (await loadCluster(tx, parseMeshName(token.mesh), token.clusterId))
    if (!token || !old || token.mesh !== centre.mesh)
      throw refused('is not known here (or was withdrawn)', request.cluster)
    if (old.name !== request.cluster)
      throw new Problem(
        'forbidden',
        `the join token was made for cluster "${old.name}", this relay's settings name "${request.cluster}": ` +
          `make one with: isthmus token create ${request.cluster}`,
      )
    if (centre.now() >= token.expiresAt) throw refused('has expired: it lives one hour', old.name)
    if (old.state === 'left') throw refused('is void: the cluster has left the mesh', old.name)
    if (old.state === 'revoked') throw refused('is void: the cluster is revoked', old.name)
    if (token.redeemedThumbprint !== null || !(await redeemJoinToken(tx, hash, thumbprint, centre.now()))) {
      const spentBy = token.redeemedThumbprint ?? (await loadJoinToken(tx, hash))?.redeemedThumbprint
      if (spentBy !== thumbprint || old.keyThumbprint !== thumbprint) throw spent(old.name)
      return { row: old, voided: false }
    }
    const fault = await networkFault(tx, old, network, centre.now())
    if (fault !== undefined) throw new Problem('forbidden', fault)
    const facts = { network, region: request.region, relayVersion: request.relayVersion, meshSync: request.proto }
    const key = { keyThumbprint: thumbprint, keyJwk: canonicalJson({ ...request.key }) }
    const change = { ...facts, ...key, state: 'joined', joinedAt: centre.now() } as const
    const row = moved(old, await updateCluster(tx, old, change))
    await forgetEpoch(tx, { mesh: row.mesh, stream: reportStream(row.name) }, centre.now())
    await audited(
      centre,
      tx,
      { kind: 'cluster', ...named(row), mesh: centre.mesh, expiresAt: 0 },
      {
        action: 'cluster.join',
        object: `cluster ${row.name}`,
        detail: { network, region: request.region, keyId: thumbprint, generation: row.generation },
      },
    )
    await askPublish(centre, tx, { cause: `cluster ${row.name} joined`, author: `cluster:${row.name}` })
    return { row, voided: old.keyThumbprint !== null && old.keyThumbprint !== thumbprint }
  })
  if (voided) centre.bus.announce({ kind: 'cluster-void', clusterId: row.id })
  centre.bus.announce({ kind: 'outbox' })
  return answerOf(centre, row)
}

/** Whatever epoch its relay said before, the one that joins now begins anew. What was reported stays until it has. */
async function forgetEpoch(tx: Tx, ref: StreamRef, now: number): Promise<void> {
  const set = { srcEpoch: '', srcSeq: 0, complete: false }
  if (await loadStream(tx, ref)) await writeItems(tx, await lockStream(tx, ref, now), [], { now, set })
}

const answerOf = async (centre: Centre, row: ClusterRow): Promise<JoinAnswer> => ({
  clusterId: row.id,
  cluster: row.name,
  mesh: row.mesh,
  trustDomain: row.trustDomain,
  generation: row.generation,
  controlPlaneCa: certificatePem((await centre.keys.active('control-plane')).certificate),
  time: centre.now(),
})

function checkedThumbprint(request: JoinRequest): string {
  try {
    keyFromJwk(request.key)
  } catch (cause) {
    const reason = 'is not a point of P-256'
    throw new Problem('invalid', `the relay's key ${reason}`, { violations: [{ path: 'key', reason }], cause })
  }
  return thumbprintOf(request.key)
}

const refused = (reason: string, cluster: string): Problem =>
  new Problem('forbidden', `the join token ${reason}; make one with: isthmus token create ${cluster}`)
const spent = (cluster: string): Problem =>
  new Problem(
    'conflict',
    `the join token of cluster "${cluster}" was spent by another key: a token works once. If that was not you, ` +
      `remove the cluster; make a new token with: isthmus token create ${cluster}`,
  )

const named = (row: ClusterRow) => ({ id: parseClusterId(row.id), name: parseClusterName(row.name) })
