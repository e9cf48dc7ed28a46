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
import { dropExportAges } from '#control/store/export-ages.ts'
import { deleteJoinTokens } from '#control/store/join-tokens.ts'
import { deleteLoad } from '#control/store/loads.ts'
import { dropFacts } from '#control/store/reported-facts.ts'
import { appendWhole } from '#control/store/stream-writes.ts'
import { type Domain, domainFor } from '#control/trust/shared-domain.ts'
import { type ClusterName, newClusterNameFault, parseClusterName, parseNetworkName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { reportStream } from '#mesh/wire/stream.ts'

/** Network and region are what its relay will say when it joins; until then, what the operator expects. */
export type NewCluster = {
  readonly name: string
  readonly network?: string | undefined
  readonly region?: string | undefined
  /** One that others may have too, or its own; absent: as the mesh began. */
  readonly trustDomain?: string | undefined
  readonly dryRun?: boolean
  /** The caller's Idempotency-Key. */
  readonly nonce?: string | undefined
}

/**
 * Announces a cluster. A name that left the mesh comes back as the same cluster, one generation higher, so that nothing
 * of its former life is trusted again. Throws `invalid` for a name that is no DNS label, makes no trust domain, or would
 * make that of another cluster's later generation; `conflict` where a cluster of that name is expected or joined, or where
 * the trust domain is a foreign one or revoked.
 */
export async function createCluster(centre: Centre, caller: Caller, asked: NewCluster): Promise<ClusterRow> {
  const name = parseClusterName(asked.name)
  const place = { network: '', region: '', ...placeOf(asked) }
  const action = 'cluster.create'
  const asks = asked.trustDomain === undefined ? {} : { trustDomain: asked.trustDomain }
  try {
    return await centre.db.transact(async (tx) => {
      const request = { name, ...place, ...asks }
      const { id } = await once(centre, tx, { caller, action, nonce: asked.nonce, request }, async () => {
        const old = await loadClusterByName(tx, centre.mesh, name)
        if (old?.state === 'revoked') throw revoked(name)
        if (old && old.state !== 'left') throw exists(name)
        const generation = old ? old.generation + 1 : 1
        const domain = await domainFor(centre, tx, { name, generation, asked: asked.trustDomain })
        const row = old
          ? await comeBack(centre, tx, old, { ...place, ...domain, generation })
          : await insertNew(centre, tx, { name, ...place, ...domain })
        const detail = domain.sharedDomain === true ? { detail: { sharedTrustDomain: domain.trustDomain } } : {}
        await audited(centre, tx, caller, { action, object: `cluster ${name}`, ...detail })
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

type Place = Pick<ClusterRow, 'network' | 'region'>

/** What was asked for, and no more. */
const placeOf = ({ network, region }: NewCluster): Partial<Place> => ({
  ...(network === undefined ? {} : { network: parseNetworkName(network) }),
  ...(region === undefined ? {} : { region }),
})

/**
 * Announces a cluster where none of that name is expected or joined. Where one is expected, what was asked for is noted;
 * where one is joined, its relay has said where it is, and asking for another place throws `conflict` that names the
 * field. `expected` is the revision the caller has seen. Again: the same answer. Throws as `createCluster`, and `stale`.
 */
export async function applyCluster(
  centre: Centre,
  caller: Caller,
  asked: NewCluster & { readonly expected?: number | undefined },
): Promise<{ readonly row: ClusterRow; readonly created: boolean }> {
  const name = parseClusterName(asked.name)
  const old = await centre.db.read((tx) => loadClusterByName(tx, centre.mesh, name))
  if (asked.expected !== undefined && old?.revision !== asked.expected) throw old ? stale(old) : unknownCluster(name)
  if (!old || old.state === 'left' || old.state === 'revoked')
    return { row: await createCluster(centre, caller, asked), created: true }
  if (asked.trustDomain !== undefined && asked.trustDomain !== old.trustDomain)
    throw domainStays(old, asked.trustDomain)
  const place = placeOf(asked)
  const moves = (['network', 'region'] as const).filter((field) => (place[field] ?? old[field]) !== old[field])
  const [field] = moves
  if (field === undefined) return { row: old, created: false }
  if (old.state === 'joined')
    throw new Problem(
      'conflict',
      `${field} "${place[field]}" is not where cluster "${name}" is: its relay has joined with "${old[field]}"; leave ` +
        `${field} out, or change it in the relay's settings and join anew`,
      { violations: moves.map((path) => ({ path, reason: `is "${old[path]}", as the relay joined with` })) },
    )
  if (asked.dryRun) return { row: { ...old, ...place, revision: old.revision + 1 }, created: false }
  const row = await centre.db.transact(async (tx) => {
    const changed = moved(old, await updateCluster(tx, old, place))
    await audited(centre, tx, caller, { action: 'cluster.update', object: `cluster ${name}`, detail: { ...place } })
    return changed
  })
  return { row, created: false }
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

const revoked = (name: string): Problem =>
  new Problem(
    'conflict',
    `cluster "${name}" is revoked: undo the revocation, or remove the cluster and create it again, which gives it a ` +
      'trust domain that was never revoked',
  )

const domainStays = ({ name, trustDomain }: ClusterRow, asked: string): Problem => {
  const reason = `is ${trustDomain}, and stays it`
  return new Problem(
    'conflict',
    `the trust domain of cluster "${name}" ${reason}: certificates and policies name it. To have ${asked.slice(0, 255)}, ` +
      `remove the cluster and create it again: isthmus cluster delete ${name}`,
    { violations: [{ path: 'trustDomain', reason }] },
  )
}

async function insertNew(
  centre: Centre,
  tx: Tx,
  { name, network, region, ...domain }: Place & Domain & { readonly name: ClusterName },
): Promise<ClusterRow> {
  const reason = newClusterNameFault(name)
  if (reason)
    throw new Problem('invalid', `a new cluster cannot be called "${name}": the name ${reason}; choose another`, {
      violations: [{ path: 'name', reason }],
    })
  const now = centre.now()
  const row: ClusterRow = {
    mesh: centre.mesh,
    id: newId(now),
    name,
    state: 'expected',
    generation: 1,
    ...domain,
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
    issuingBefore: null,
  }
  await insertCluster(tx, row)
  return row
}

async function comeBack(
  centre: Centre,
  tx: Tx,
  row: ClusterRow,
  change: Place & Domain & { readonly generation: number },
): Promise<ClusterRow> {
  await forgetReport(centre, tx, row)
  return moved(row, await updateCluster(tx, row, { ...change, state: 'expected' }))
}

/** The stream and its durable copies alike: what one of them kept would be an export of a former life. */
async function forgetReport(centre: Centre, tx: Tx, row: ClusterRow): Promise<void> {
  await appendWhole(tx, { mesh: centre.mesh, stream: reportStream(row.name) }, new Map(), centre.now())
  await dropFacts(tx, { mesh: centre.mesh, cluster: row.name })
  await dropExportAges(tx, { mesh: centre.mesh, cluster: row.name })
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
    await deleteLoad(tx, centre.mesh, old.name)
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
