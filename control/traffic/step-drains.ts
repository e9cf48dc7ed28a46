import { centreCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { loadMembers } from '#control/store/clusters.ts'
import { type DrainRow, loadOpenDrains, updateDrain } from '#control/store/drains.ts'
import { lockAdvice, subjectOf, writeAdvice } from '#control/traffic/advice.ts'
import { moved, shownSubject, tell } from '#control/traffic/drain.ts'
import { type DrainMemo, sightOf } from '#control/traffic/drain-sight.ts'
import { type DrainStep, nextDrainStep } from '#mesh/policy/plan-drain.ts'

/**
 * Takes every drain a step further where its time has come; gives how many are under way. Each step is one transaction:
 * the drain's row, what relays hear, an audit event, and for a service the wish for a publish. So a centre that dies at any
 * moment has made a step or has not, and the next one goes on from there.
 */
export async function stepDrains(centre: Centre, memo: DrainMemo): Promise<number> {
  const open = await centre.db.read((tx) => loadOpenDrains(tx, centre.mesh))
  const moving = open.filter(({ state }) => state !== 'done' && state !== 'stopped')
  for (const key of memo.keys()) if (!moving.some(({ id, state }) => key === `${id} ${state}`)) memo.delete(key)
  if (moving.length === 0) return 0
  const members = new Set((await centre.db.read((tx) => loadMembers(tx, centre.mesh))).map(({ name }) => name))
  for (const row of moving) {
    const next = members.has(subjectOf(row).cluster)
      ? nextDrainStep(row, await sightOf(centre, row, memo), centre.now())
      : gone
    if (next.kind === 'to') await make(centre, row, next)
    else await note(centre, row, next.why)
  }
  return moving.length
}

/** What relays hear is brought to what is stored: after a start, and where a store was restored. */
export async function repairAdvice(centre: Centre): Promise<void> {
  const delta = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    return writeAdvice(centre, tx)
  })
  if (delta) tell(centre, delta)
}

const gone: DrainStep = { kind: 'to', state: 'undone', percent: 100, why: 'its cluster is no member any more' }

async function make(centre: Centre, row: DrainRow, step: Extract<DrainStep, { kind: 'to' }>): Promise<void> {
  const { state, percent, why } = step
  const delta = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    const change = {
      ...{ state, percent, why, stepAt: centre.now() },
      ...(state === 'undone' ? { slot: row.id } : {}),
      ...(state === 'done' ? { proof: why } : {}),
    }
    const made = await moved(centre, tx, row, change, { author: centreCaller })
    if (!made) return undefined
    const what = { action: `drain.${actionOf(row, step)}`, object: shownSubject(subjectOf(row)) }
    await audited(centre, tx, centreCaller, { ...what, detail: { id: row.id, percent, why } })
    return made.delta
  })
  tell(centre, delta)
}

const actionOf = (row: DrainRow, { state }: { readonly state: DrainRow['state'] }): string =>
  state === row.state ? 'step' : state

/** Why it stands is written down when it becomes another reason. */
async function note(centre: Centre, row: DrainRow, why: string): Promise<void> {
  if (why === row.why) return
  await centre.db.transact((tx) => updateDrain(tx, row, { why }))
}
