import { centreCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { loadMembers } from '#control/store/clusters.ts'
import { type DrainRow, loadOpenDrains, updateDrain } from '#control/store/drains.ts'
import { lockAdvice, subjectOf, writeAdvice } from '#control/traffic/advice.ts'
import { drainFacts, moved, shownSubject, tell } from '#control/traffic/drain.ts'
import { type DrainMemo, drainMemoKey, sightOf } from '#control/traffic/drain-sight.ts'
import { checkDrain } from '#mesh/foresee/check-drain.ts'
import { type DrainStep, nextDrainStep } from '#mesh/policy/plan-drain.ts'

type To = Extract<DrainStep, { readonly kind: 'to' }>

/**
 * Takes every drain a step further where its time has come; gives how many are under way. Each step is one transaction:
 * the drain's row, what relays hear, an audit event, and for a service the wish for a publish. So a centre that dies at any
 * moment has made a step or has not, and the next one goes on from there.
 *
 * Before each step that takes something away it is looked again whether somebody would be left: survivors leave and fail
 * too, and policies change. While nobody would be, it waits, and says for whom.
 */
export async function stepDrains(centre: Centre, memo: DrainMemo): Promise<number> {
  const open = await centre.db.read((tx) => loadOpenDrains(tx, centre.mesh))
  const moving = open.filter(({ state }) => state !== 'done' && state !== 'stopped')
  for (const key of memo.keys())
    if (!moving.some(({ id, state }) => key === drainMemoKey({ id, state }))) memo.delete(key)
  if (open.length === 0) return 0
  const members = new Set((await centre.db.read((tx) => loadMembers(tx, centre.mesh))).map(({ name }) => name))
  // One that joins later under the name of one that left is not drained.
  for (const row of open) if (!members.has(subjectOf(row).cluster)) await make(centre, row, gone)
  for (const row of moving) {
    if (!members.has(subjectOf(row).cluster)) continue
    const next = nextDrainStep(row, await sightOf(centre, row, memo), centre.now())
    const held = next.kind === 'to' && takesAway(next) ? await heldFor(centre, row, memo) : undefined
    if (next.kind === 'wait' || held !== undefined) await note(centre, row, held ?? next.why)
    else await make(centre, row, next)
  }
  return moving.length
}

const takesAway = ({ state }: To): boolean => state === 'ramping' || state === 'closing'

/** As often it is asked whether a step that was held may be made: it takes a look at the whole fleet. */
const heldMs = 3000

/** Whom the next step would leave without anybody; undefined where nobody. */
async function heldFor(centre: Centre, row: DrainRow, memo: DrainMemo): Promise<string | undefined> {
  const known = memo.get(drainMemoKey(row))
  if (known?.held && centre.now() - known.held.at < heldMs) return known.held.why
  const facts = await drainFacts(centre)
  const open = await centre.db.read((tx) => loadOpenDrains(tx, centre.mesh))
  const others = open.filter(({ id }) => id !== row.id).map(subjectOf)
  const { refusals } = checkDrain(subjectOf(row), { ...facts, others })
  const [first] = refusals
  if (!first) return undefined
  const more = refusals.length > 1 ? ` (and ${refusals.length - 1} more)` : ''
  const why = `it waits: ${first.path}: ${first.reason}${more}`
  if (known) known.held = { at: centre.now(), why }
  return why
}

/** What relays hear is brought to what is stored: after a start, and where a store was restored. */
export async function repairAdvice(centre: Centre): Promise<void> {
  const delta = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    return writeAdvice(centre, tx)
  })
  if (delta) tell(centre, delta)
}

const gone: To = { kind: 'to', state: 'undone', percent: 100, why: 'its cluster is no member any more' }

async function make(centre: Centre, row: DrainRow, step: To): Promise<void> {
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
