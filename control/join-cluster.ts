import { createHmac } from 'node:crypto'
import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { keyFromJwk } from '#control/jwt.ts'
import { newId } from '#control/new-id.ts'
import { once } from '#control/once.ts'
import {
  type ClusterRow,
  insertCluster,
  loadCluster,
  loadClusterByName,
  updateCluster,
} from '#control/store/clusters.ts'
import { isDuplicate, type Tx } from '#control/store/database.ts'
import { deleteJoinTokens, loadJoinToken, redeemJoinToken, saveJoinToken } from '#control/store/join-tokens.ts'
import { appendWhole } from '#control/store/streams.ts'
import { canonicalJson, sha256Hex } from '#mesh/model/canonical.ts'
import {
  type ClusterName,
  parseClusterId,
  parseClusterName,
  parseMeshName,
  parseNetworkName,
  trustDomainOf,
} from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { thumbprintOf } from '#mesh/wire/assertion.ts'
import type { JoinAnswer, JoinRequest } from '#mesh/wire/join.ts'
import { formatJoinToken } from '#mesh/wire/join-token.ts'
import { reportStream } from '#mesh/wire/stream.ts'
import { checkVersion } from '#mesh/wire/version.ts'

const tokenLifeMs = 60 * 60_000

/** Network and region are what its relay will say when it joins; until then, what the operator expects. */
export type NewCluster = {
  readonly name: string
  readonly network?: string | undefined
  readonly region?: string | undefined
  readonly dryRun?: boolean
  /** The caller's Idempotency-Key. */
  readonly nonce?: string | undefined
}

/**
 * Announces a cluster. A name that left the mesh comes back as the same cluster, one generation higher, so that nothing
 * of its former life is trusted again. Throws `invalid` for a name that is no DNS label or makes no trust domain, and
 * `conflict` where a cluster of that name is expected or joined.
 */
export async function createCluster(centre: Centre, caller: Caller, asked: NewCluster): Promise<ClusterRow> {
  const name = parseClusterName(asked.name)
  const network = asked.network === undefined ? '' : parseNetworkName(asked.network)
  const place = { network, region: asked.region ?? '' }
  const action = 'cluster.create'
  try {
    return await centre.db.transact(async (tx) => {
      const request = { name, ...place }
      const { id } = await once(centre, tx, { caller, action, nonce: asked.nonce, request }, async () => {
        const old = await loadClusterByName(tx, centre.mesh, name)
        if (old && old.state !== 'left') throw exists(name)
        const row = old ? await comeBack(centre, tx, old) : await insertNew(centre, tx, { name, ...place })
        await audited(centre, tx, caller, { action, object: `cluster ${name}` })
        return { id: row.id }
      })
      const row = await loadCluster(tx, centre.mesh, id)
      if (!row) throw unknownCluster(name)
      if (asked.dryRun) throw new DryRun(row)
      return row
    })
  } catch (error) {
    if (error instanceof DryRun) return error.row
    if (isDuplicate(error)) throw exists(name)
    throw error
  }
}

/** Thrown to roll a rehearsal back once it is known how it would have ended. */
class DryRun extends Error {
  readonly row: ClusterRow
  constructor(row: ClusterRow) {
    super('dry run')
    this.row = row
  }
}

const exists = (name: string): Problem =>
  new Problem('conflict', `cluster "${name}" exists already: choose another name, or make it a join token`)

async function insertNew(
  centre: Centre,
  tx: Tx,
  { name, network, region }: { readonly name: ClusterName; readonly network: string; readonly region: string },
): Promise<ClusterRow> {
  const now = centre.now()
  const row: ClusterRow = {
    mesh: centre.mesh,
    id: newId(now),
    name,
    state: 'expected',
    generation: 1,
    trustDomain: parseTrustDomain(trustDomainOf(name, centre.mesh, 1)),
    network,
    region,
    keyThumbprint: null,
    keyJwk: null,
    relayVersion: '',
    meshSync: '',
    createdAt: now,
    joinedAt: null,
    lastSeenAt: null,
    revision: 1,
  }
  await insertCluster(tx, row)
  return row
}

async function comeBack(centre: Centre, tx: Tx, row: ClusterRow): Promise<ClusterRow> {
  const generation = row.generation + 1
  await forgetReport(centre, tx, row)
  const trustDomain = parseTrustDomain(trustDomainOf(parseClusterName(row.name), centre.mesh, generation))
  return moved(row, await updateCluster(tx, row, { state: 'expected', generation, trustDomain }))
}

const forgetReport = (centre: Centre, tx: Tx, row: ClusterRow) =>
  appendWhole(tx, { mesh: centre.mesh, stream: reportStream(row.name) }, new Map(), centre.now())

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
    if (row.state === 'left')
      throw new Problem('conflict', `cluster "${row.name}" has left: bring it back first (isthmus cluster create)`)
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
 * Throws `forbidden` for a token that is unknown, expired or another cluster's, `conflict` for one that another key has
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
    if (token.redeemedThumbprint !== null || !(await redeemJoinToken(tx, hash, thumbprint, centre.now()))) {
      const spentBy = token.redeemedThumbprint ?? (await loadJoinToken(tx, hash))?.redeemedThumbprint
      if (spentBy !== thumbprint || old.keyThumbprint !== thumbprint) throw spent(old.name)
      return { row: old, voided: false }
    }
    const facts = { network, region: request.region, relayVersion: request.relayVersion, meshSync: request.proto }
    const key = { keyThumbprint: thumbprint, keyJwk: canonicalJson({ ...request.key }) }
    const change = { ...facts, ...key, state: 'joined', joinedAt: centre.now() } as const
    const row = moved(old, await updateCluster(tx, old, change))
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

const answerOf = (centre: Centre, row: ClusterRow): JoinAnswer => ({
  clusterId: row.id,
  cluster: row.name,
  mesh: row.mesh,
  trustDomain: row.trustDomain,
  generation: row.generation,
  controlPlaneCa: certificatePem(centre.keys.controlPlane.certificate),
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
const unknownCluster = (name: string): Problem =>
  new Problem('not-found', `there is no cluster "${name}": create it with: isthmus cluster create ${name}`)

/**
 * Takes a cluster out of the mesh: its key, tokens and join tokens are void at once, its exports are withdrawn by the
 * publish that follows. `expected` is the revision the caller has seen. Again: the same answer. Throws `not-found`,
 * `stale`.
 */
export async function removeCluster(
  centre: Centre,
  caller: Caller,
  name: string,
  expected: number | undefined,
): Promise<ClusterRow> {
  const row = await centre.db.transact(async (tx) => {
    const old = await loadClusterByName(tx, centre.mesh, name)
    if (!old) throw unknownCluster(name)
    if (expected !== undefined && old.revision !== expected) throw stale(old)
    if (old.state === 'left') return old
    const left = moved(old, await updateCluster(tx, old, { state: 'left', keyThumbprint: null, keyJwk: null }))
    await deleteJoinTokens(tx, centre.mesh, old.id)
    // What it reported is withdrawn now: a later life of the same name begins with what it says then.
    await forgetReport(centre, tx, old)
    await audited(centre, tx, caller, { action: 'cluster.remove', object: `cluster ${name}` })
    await askPublish(centre, tx, { cause: `cluster ${name} left`, author: callerText(caller) })
    return left
  })
  centre.bus.announce({ kind: 'cluster-void', clusterId: row.id })
  centre.bus.announce({ kind: 'outbox' })
  return row
}

/** The row after a guarded update; throws `stale` where somebody else was faster. */
function moved(before: ClusterRow, after: ClusterRow | undefined): ClusterRow {
  if (after) return after
  throw stale(before)
}

const stale = (row: ClusterRow): Problem =>
  new Problem('stale', `cluster "${row.name}" has moved on from that revision: read it again`, {
    extra: { revision: row.revision },
  })

const named = (row: ClusterRow) => ({ id: parseClusterId(row.id), name: parseClusterName(row.name) })
