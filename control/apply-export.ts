import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { type ConfigChange, configChanges } from '#control/config-changes.ts'
import { loadFleet } from '#control/load-fleet.ts'
import { newId } from '#control/new-id.ts'
import { isDuplicate, type Tx } from '#control/store/database.ts'
import {
  deleteNarrowing,
  insertNarrowing,
  loadNarrowing,
  type NarrowingName,
  type ServiceExportRow,
  updateNarrowing,
} from '#control/store/exports.ts'
import { everyMember, foreignConsumer } from '#mesh/compile/consumers.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { ExportNarrowing } from '#mesh/model/fleet.ts'
import { labelFault, parseClusterName, serviceKey } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { trustDomainFault } from '#mesh/trust/spiffe-id.ts'

/** A change of one narrowing. `consumers` absent = the narrowing goes. */
export type ExportChange = NarrowingName & {
  readonly consumers?: readonly string[]
  /** The revision that the caller has seen (If-Match). */
  readonly expected?: number | undefined
}

/** Throws `invalid` with every violation: names that can be nobody's, or too many. */
function checkExportChange(change: ExportChange): void {
  const named = {
    namespace: change.namespace,
    name: change.name,
    ...(change.cluster ? { cluster: change.cluster } : {}),
  }
  const violations = [
    ...Object.entries(named).map(([path, text]) => ({ path, reason: labelFault(text) ?? '' })),
    ...(change.consumers ?? []).map((name, i) => ({ path: `consumers[${i}]`, reason: consumerFault(name) ?? '' })),
  ].filter((violation) => violation.reason !== '')
  const first = violations[0]
  if (first) throw new Problem('invalid', `${first.path} ${first.reason}`, { violations })
}

/** A cluster, `*` for every one of them, or `spiffe://<trust domain>` of another mesh. */
function consumerFault(name: string): string | undefined {
  if (name === everyMember) return undefined
  const foreign = foreignConsumer('')
  return name.startsWith(foreign) ? trustDomainFault(name.slice(foreign.length)) : labelFault(name)
}

/**
 * Sets whom the operator lets use an export: it narrows what the exporter offers and never widens it. Configs follow by
 * the publish that this asks for. The same again changes nothing. Throws `invalid`, `stale` where `expected` is not the
 * revision any more.
 */
export async function applyExport(
  centre: Centre,
  caller: Caller,
  change: ExportChange,
): Promise<{ readonly row: ServiceExportRow; readonly created: boolean }> {
  checkExportChange(change)
  const consumers = canonicalJson([...new Set(change.consumers ?? [])].toSorted())
  try {
    const result = await centre.db.transact(async (tx) => {
      const old = await loadNarrowing(tx, centre.mesh, change)
      checkRevision(change, old)
      if (old?.consumers === consumers) return { row: old, created: false }
      const row = old ? await update(centre, tx, old, consumers) : await insert(centre, tx, change, consumers)
      await tell(centre, tx, caller, change, 'service-export.narrow')
      return { row, created: !old }
    })
    centre.bus.announce({ kind: 'outbox' })
    return result
  } catch (error) {
    if (isDuplicate(error))
      throw new Problem('stale', `${objectOf(change)} was changed at the same time: read it again`)
    throw error
  }
}

/** Takes the operator's narrowing away: the exporter's own list decides again. False where there was none. */
export async function removeExport(centre: Centre, caller: Caller, change: ExportChange): Promise<boolean> {
  const removed = await centre.db.transact(async (tx) => {
    const old = await loadNarrowing(tx, centre.mesh, change)
    checkRevision(change, old)
    if (!old) return false
    if (!(await deleteNarrowing(tx, old))) throw stale(change, old.revision)
    await tell(centre, tx, caller, change, 'service-export.release')
    return true
  })
  if (removed) centre.bus.announce({ kind: 'outbox' })
  return removed
}

/** Which configs would move, and how, without changing anything: the same compiler, once with and once without. */
export async function rehearseExport(centre: Centre, change: ExportChange): Promise<ConfigChange[]> {
  checkExportChange(change)
  const fleet = await centre.db.read((tx) => loadFleet(tx, centre.mesh, new Map()))
  const key = serviceKey(change.namespace, change.name)
  const isSame = (n: ExportNarrowing) => n.key === key && (n.cluster ?? '') === change.cluster
  const narrowings = fleet.narrowings.filter((narrowing) => !isSame(narrowing))
  if (change.consumers)
    narrowings.push({
      key,
      ...(change.cluster === '' ? {} : { cluster: parseClusterName(change.cluster) }),
      consumers: [...new Set(change.consumers)].toSorted(),
    })
  return configChanges(fleet, { ...fleet, narrowings })
}

async function insert(centre: Centre, tx: Tx, name: NarrowingName, consumers: string): Promise<ServiceExportRow> {
  const now = centre.now()
  const row: ServiceExportRow = {
    mesh: centre.mesh,
    id: newId(now),
    namespace: name.namespace,
    name: name.name,
    cluster: name.cluster,
    consumers,
    revision: 1,
    createdAt: now,
    updatedAt: now,
  }
  await insertNarrowing(tx, row)
  return row
}

async function update(centre: Centre, tx: Tx, old: ServiceExportRow, consumers: string): Promise<ServiceExportRow> {
  const row = await updateNarrowing(tx, old, consumers, centre.now())
  if (!row) throw stale(old, old.revision)
  return row
}

async function tell(centre: Centre, tx: Tx, caller: Caller, change: ExportChange, action: string): Promise<void> {
  const object = objectOf(change)
  const detail = change.consumers === undefined ? {} : { consumers: [...change.consumers] }
  await audited(centre, tx, caller, { action, object, detail })
  await askPublish(centre, tx, { cause: object, author: callerText(caller) })
}

function checkRevision(change: ExportChange, old: ServiceExportRow | undefined): void {
  if (change.expected !== undefined && change.expected !== (old?.revision ?? 0)) throw stale(change, old?.revision ?? 0)
}

const objectOf = ({ namespace, name, cluster }: NarrowingName): string =>
  `export ${namespace}/${name}${cluster === '' ? '' : ` of ${cluster}`}`

const stale = (name: NarrowingName, revision: number): Problem =>
  new Problem('stale', `${objectOf(name)} is at revision ${revision} now: read it again`, { extra: { revision } })
