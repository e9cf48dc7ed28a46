import type { Centre } from '#control/centre.ts'
import type { Tx } from '#control/store/database.ts'
import { type DrainRow, loadOpenDrains } from '#control/store/drains.ts'
import { loadMark } from '#control/store/mesh-marks.ts'
import { appendWhole, lockStream } from '#control/store/stream-writes.ts'
import type { StreamRef } from '#control/store/streams.ts'
import { type Json, sha256Hex } from '#mesh/model/canonical.ts'
import { type DrainSubject, parseDrainSubject } from '#mesh/model/drain.ts'
import type { DrainAdvice, Freeze, LostExporter } from '#mesh/model/traffic.ts'
import { adviceKeys, drainItem, parseLost } from '#mesh/wire/advice.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { adviceStream } from '#mesh/wire/stream.ts'

export const adviceRef = ({ mesh }: Pick<Centre, 'mesh'>): StreamRef => ({ mesh, stream: adviceStream(mesh) })

export const subjectOf = ({ kind, subject }: Pick<DrainRow, 'kind' | 'subject'>): DrainSubject =>
  parseDrainSubject(kind, subject)

/** Whether the gateways of its subject are to be closed, or are. */
export const isClosing = ({ state }: Pick<DrainRow, 'state'>): boolean =>
  state === 'closing' || state === 'proving' || state === 'done'

/** Nobody else writes a drain or a freeze until the transaction ends: what is decided under it is true when it commits. */
export const lockAdvice = async (centre: Centre, tx: Tx): Promise<void> => {
  await lockStream(tx, adviceRef(centre), centre.now())
}

/**
 * The stream that all relays read: drains of clusters and gateways, the freeze, and who is not heard. All of it is written
 * anew from what is stored, so that it is right whatever was there before (a store that was restored); undefined where
 * nothing differs. Call it in the transaction of the change, under `lockAdvice`. Drains of services travel in the configs
 * of those who may know the service.
 */
export async function writeAdvice(centre: Centre, tx: Tx): Promise<StreamDelta | undefined> {
  const entries = new Map<string, Json>()
  for (const row of await loadOpenDrains(tx, centre.mesh)) {
    const said = adviceOf(row)
    if (said) entries.set(adviceKeys.drain(row.id), drainItem(said))
  }
  const frozen = await loadFreeze(tx, centre)
  if (frozen) entries.set(adviceKeys.freeze, { ...frozen })
  for (const { cluster, since, until } of await loadLost(tx, centre))
    entries.set(adviceKeys.lost(cluster), { since, until })
  return appendWhole(tx, adviceRef(centre), entries, centre.now())
}

export async function loadFreeze(tx: Tx, { mesh }: Pick<Centre, 'mesh'>): Promise<Freeze | undefined> {
  const mark = await loadMark(tx, mesh, 'freeze')
  return mark && mark.value !== '' ? { by: mark.by, reason: mark.reason, at: mark.at } : undefined
}

/** Exporters that relays are told are not heard. */
export async function loadLost(tx: Tx, { mesh }: Pick<Centre, 'mesh'>): Promise<readonly LostExporter[]> {
  const mark = await loadMark(tx, mesh, 'lost')
  return mark && mark.value !== '' ? parseLost(mark.value) : []
}

function adviceOf(row: DrainRow): DrainAdvice | undefined {
  const subject = subjectOf(row)
  if (subject.kind === 'service') return undefined
  return {
    ...{ id: row.id, kind: subject.kind, cluster: subject.cluster },
    ...(subject.kind === 'gateway' ? { gateway: sha256Hex(subject.gateway) } : {}),
    ...{ percent: row.percent, phase: phaseOf(row.state) },
  }
}

/** Whether gateways are to close is all that relays need to know of a state. */
const phaseOf = (state: DrainRow['state']): DrainAdvice['phase'] =>
  state === 'closing' || state === 'proving' || state === 'done' ? state : 'ramping'
