import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
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
import { deleteJoinTokens } from '#control/store/join-tokens.ts'
import { dropFacts } from '#control/store/reported-facts.ts'
import { appendWhole } from '#control/store/streams.ts'
import { type ClusterName, parseClusterName, parseNetworkName, trustDomainOf } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { reportStream } from '#mesh/wire/stream.ts'

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

/** The stream and its durable copy alike: what one of them kept would be an export of a former life. */
async function forgetReport(centre: Centre, tx: Tx, row: ClusterRow): Promise<void> {
  await appendWhole(tx, { mesh: centre.mesh, stream: reportStream(row.name) }, new Map(), centre.now())
  await dropFacts(tx, { mesh: centre.mesh, cluster: row.name })
}

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
export function moved(before: ClusterRow, after: ClusterRow | undefined): ClusterRow {
  if (after) return after
  throw stale(before)
}

const stale = (row: ClusterRow): Problem =>
  new Problem('stale', `cluster "${row.name}" has moved on from that revision: read it again`, {
    extra: { revision: row.revision },
  })

export const unknownCluster = (name: string): Problem =>
  new Problem('not-found', `there is no cluster "${name}": create it with: isthmus cluster create ${name}`)
