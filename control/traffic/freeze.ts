import { type Caller, callerText } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { lockMark, saveMark } from '#control/store/mesh-marks.ts'
import { loadFreeze, lockAdvice, writeAdvice } from '#control/traffic/advice.ts'
import { tell } from '#control/traffic/drain.ts'
import type { Freeze } from '#mesh/model/traffic.ts'

/** Ends every automatic shift of traffic until `unfreeze`; drains go on. A second freeze leaves the first as it is. */
export async function freeze(centre: Centre, caller: Caller, reason: string): Promise<Freeze> {
  const { frozen, delta } = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    const known = await loadFreeze(tx, centre)
    if (known) return { frozen: known, delta: undefined }
    const frozen = { by: callerText(caller), reason, at: centre.now() }
    await saveMark(tx, { ...(await lockMark(tx, centre.mesh, 'freeze')), value: 'frozen', ...frozen })
    await audited(centre, tx, caller, { action: 'traffic.freeze', object: `mesh ${centre.mesh}`, detail: { reason } })
    return { frozen, delta: await writeAdvice(centre, tx) }
  })
  if (delta) tell(centre, delta)
  return frozen
}

/** Health moves traffic again. Gives whether it was frozen. */
export async function unfreeze(centre: Centre, caller: Caller, reason: string): Promise<boolean> {
  const { was, delta } = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    const known = await loadFreeze(tx, centre)
    if (!known) return { was: false, delta: undefined }
    const mark = await lockMark(tx, centre.mesh, 'freeze')
    await saveMark(tx, { ...mark, value: '', by: callerText(caller), reason, at: centre.now() })
    const detail = { ...(reason === '' ? {} : { reason }), frozenBy: known.by, since: known.at }
    await audited(centre, tx, caller, { action: 'traffic.unfreeze', object: `mesh ${centre.mesh}`, detail })
    return { was: true, delta: await writeAdvice(centre, tx) }
  })
  if (delta) tell(centre, delta)
  return was
}
