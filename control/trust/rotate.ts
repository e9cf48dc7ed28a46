import { type Caller, callerText, centreCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { newId } from '#control/new-id.ts'
import { once, type Repeatable } from '#control/once.ts'
import { type AuthorityRow, insertAuthority, loadAuthorities, moveAuthority } from '#control/store/authorities.ts'
import { isDuplicate, LostRace, type Tx } from '#control/store/database.ts'
import { loadMesh } from '#control/store/meshes.ts'
import {
  insertRotation,
  isOpen,
  loadOpenRotations,
  loadRotation,
  openSlot,
  type RotationRow,
  updateRotation,
} from '#control/store/rotations.ts'
import { changeTrust, ensureCountersigned, type TrustMoment } from '#control/trust/bundle.ts'
import { loadRotationFacts } from '#control/trust/facts.ts'
import { appendIssuance, authorityIssued } from '#control/trust/issuances.ts'
import { loadKnownAuthorities } from '#control/trust/known-authorities.ts'
import { type AuthorityWish, makeAuthority } from '#control/trust/make-authority.ts'
import { stepIssuing } from '#control/trust/rotate-issuing.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Missing, nextStep, type RotationStep, rotationSteps } from '#mesh/trust/plan-rotation.ts'

export type RotationAsked = {
  readonly kind: 'root' | 'control-plane'
  readonly wish?: AuthorityWish
  readonly reason?: string | undefined
  /** The caller's Idempotency-Key. */
  readonly nonce?: string | undefined
}

/** A step that was passed although something was missing. */
export type Forced = {
  readonly step: string
  readonly reason: string
  readonly by: string
  readonly at: number
  readonly missing: readonly Missing[]
}

/** What a process knows of itself beside the store: under which control-plane CA its door serves. */
export type Here = { readonly door?: string | undefined }

/**
 * Begins a rotation: a new key is made and its certificate stands, in no bundle yet. Its steps follow by `stepRotations`.
 * Throws `conflict` where one of the kind runs already, and what making the key throws.
 */
export async function startRotation(centre: Centre, caller: Caller | typeof centreCaller, asked: RotationAsked) {
  const { kind, reason = '' } = asked
  const { mesh, random } = centre
  const { open, rows, known, shared } = await centre.db.read(async (tx) => ({
    open: await loadOpenRotations(tx, mesh),
    rows: await loadAuthorities(tx, mesh),
    known: await loadKnownAuthorities(tx, mesh),
    shared: (await loadMesh(tx, mesh))?.sharedDomain ?? undefined,
  }))
  const again = caller !== centreCaller && asked.nonce !== undefined
  const running = open.find((row) => row.slot === openSlot(kind))
  if (running && !again) throw runsAlready(running)
  const now = centre.now()
  const number = 1 + Math.max(0, ...rows.filter((row) => row.kind === kind).map((row) => row.number ?? 1))
  const wish = asked.wish ? { wish: asked.wish } : {}
  const wanted = { mesh, kind, number, now, random, known, trustDomain: shared, ...wish }
  const made = running ? undefined : await makeAuthority(wanted, centre.keys.ring)
  const by = caller === centreCaller ? centreCaller : callerText(caller)
  try {
    return await centre.db.transact(async (tx) => {
      const insert = async () => ({ id: await storeBegun(tx, { kind, made, by, reason, now }) })
      const repeatable: Repeatable | undefined = caller === centreCaller ? undefined : repeatableOf(caller, asked)
      const { id } = repeatable ? await once(centre, tx, repeatable, insert) : await insert()
      return found(await loadRotation(tx, mesh, id), id)
    })
  } catch (error) {
    if (isDuplicate(error))
      throw new Problem('conflict', `a rotation of ${kind} was begun a moment ago: see its status`)
    throw error
  }

  async function storeBegun(tx: Tx, of: Begun): Promise<string> {
    if (!of.made) throw running ? runsAlready(running) : new Problem('internal', 'a rotation without its authority')
    const { row, certificate } = of.made
    const from = (await loadAuthorities(tx, mesh)).find((one) => one.kind === of.kind && one.state === 'active')
    if (!from) throw new Problem('conflict', `the database holds no active ${of.kind} authority`)
    const id = newId(of.now)
    await insertAuthority(tx, row)
    await appendIssuance(tx, mesh, authorityIssued({ row, certificate, by: of.by, at: of.now }))
    await insertRotation(tx, {
      ...{ mesh, id, kind: of.kind, slot: openSlot(of.kind), step: 'prepared', fromId: from.id, toId: row.id },
      ...{ startedAt: of.now, stepAt: of.now, seq: 0, by: of.by, reason: of.reason, forced: '[]', revision: 1 },
    })
    const detail = { from: from.number ?? 1, to: row.number ?? 1, reason: of.reason }
    await audited(centre, tx, caller, { action: 'rotation.start', object: `rotation of ${of.kind}`, detail })
    return id
  }
}

type Begun = {
  readonly kind: 'root' | 'control-plane'
  readonly made:
    | { readonly row: AuthorityRow; readonly certificate: Parameters<typeof authorityIssued>[0]['certificate'] }
    | undefined
  readonly by: string
  readonly reason: string
  readonly now: number
}

const repeatableOf = (caller: Caller, { kind, nonce, reason = '' }: RotationAsked): Repeatable => ({
  ...{ caller, action: 'rotation.start', nonce, request: { kind, reason } },
})

/**
 * Takes every rotation that runs as far as it can go now; safe to run at any time, by any process, and again. Gives how
 * many steps were made. One that fails (a key service that is away) is thrown after the others had their turn.
 */
export async function stepRotations(centre: Centre, here: Here = {}): Promise<number> {
  let steps = 0
  let fault: { readonly error: unknown } | undefined
  await ensureCountersigned(centre)
  for (const row of await centre.db.read((tx) => loadOpenRotations(tx, centre.mesh)))
    try {
      while (await stepOnce(centre, row.id, { here })) steps++
    } catch (error) {
      fault ??= { error }
    }
  if (fault) throw fault.error
  return steps
}

/**
 * Tries the next step now. With `force` it is made whatever is missing; why, and what was missing, is kept. Throws
 * `not-found`, `conflict` for a rotation that has ended or where there is nothing to force.
 */
export async function continueRotation(
  centre: Centre,
  caller: Caller,
  {
    id,
    force,
    here = {},
  }: { readonly id: string; readonly force?: { readonly reason: string } | undefined; readonly here?: Here },
): Promise<RotationRow> {
  const row = await loadOpen(centre, id)
  if (force && row.kind === 'issuing')
    throw new Problem('conflict', 'the rotation of an issuing CA holds nothing up: there is nothing to force')
  if (force) await stepOnce(centre, id, { here, force: { ...force, caller } })
  else while (await stepOnce(centre, id, { here }));
  return centre.db.read((tx) => knownRotation(tx, centre.mesh, id))
}

/**
 * Ends a rotation whose new authority has signed nothing: it is taken out again. Throws `conflict` from `active` on, where
 * only going on is safe.
 */
export async function abortRotation(
  centre: Centre,
  caller: Caller,
  { id, reason }: { readonly id: string; readonly reason: string },
): Promise<RotationRow> {
  await loadOpen(centre, id)
  return changeTrust(centre, async ({ tx, now }) => {
    const row = openOf(await loadRotation(tx, centre.mesh, id), id)
    if (row.kind === 'issuing' || (row.step !== 'prepared' && row.step !== 'published'))
      throw new Problem(
        'conflict',
        `the rotation of ${row.kind} is ${row.step}: certificates of the new authority are in use, so it can only go on`,
      )
    const { to } = await partiesOf(tx, row)
    await moveAuthority(tx, to, 'revoked', now)
    const aborted = await updateRotation(tx, row, { slot: row.id, step: 'aborted', stepAt: now })
    await audited(centre, tx, caller, { action: 'rotation.abort', object: objectOf(row), detail: { id, reason } })
    return aborted ?? lost(row)
  })
}

type Step = { readonly here: Here; readonly force?: { readonly reason: string; readonly caller: Caller } }

/** One step where it is due (or forced), in one transaction with its bundle; false where it waits or has ended. */
async function stepOnce(centre: Centre, id: string, step: Step): Promise<boolean> {
  const seen = await centre.db.read(async (tx) => {
    const row = await loadRotation(tx, centre.mesh, id)
    return row && isOpen(row) ? { row, verdict: await verdictOf(centre, tx, row, step.here) } : undefined
  })
  if (!seen) return false
  if (seen.row.kind === 'issuing') return stepIssuing(centre, seen.row)
  if (seen.verdict.kind === 'wait' && !step.force) return false
  const next = (moment: TrustMoment) => perform(centre, id, { ...step, moment, revision: seen.row.revision })
  // Two CAs below one root of the user's leave the bundle as it is, and relays acknowledge its number all the same.
  const isSigned = seen.row.step !== 'active' && seen.row.step !== 'revoked'
  const moved = await changeTrust(centre, next, isSigned ? 'always' : 'changes')
  // Whoever joins while the new one signs nothing yet needs a link that is signed by it.
  await ensureCountersigned(centre)
  return moved
}

async function verdictOf(centre: Centre, tx: Tx, row: RotationRow, here: Here) {
  const { kind, step } = row
  if (kind === 'issuing' || step === 'aborted') return { kind: 'wait', missing: [] as Missing[] } as const
  const facts = await loadRotationFacts(tx, centre.mesh, { toId: row.toId, now: centre.now(), door: here.door })
  return nextStep({ kind, step }, facts)
}

/** Looks again under the lock: what was known before it may have ended. */
async function perform(
  centre: Centre,
  id: string,
  { here, force, moment, revision }: Step & { readonly moment: TrustMoment; readonly revision: number },
): Promise<boolean> {
  const { tx, now, seq } = moment
  const row = await loadRotation(tx, centre.mesh, id)
  if (!row || !isOpen(row) || row.revision !== revision) return false
  const verdict = await verdictOf(centre, tx, row, here)
  if (verdict.kind === 'wait' && !force) return false
  const caller = force?.caller ?? centreCaller
  const missing = verdict.kind === 'wait' ? verdict.missing : []
  const forced = force && missing.length > 0 ? withForced(row, { force, missing, now }) : row.forced
  if (force && missing.length > 0)
    await audited(centre, tx, caller, {
      ...{ action: 'rotation.force', object: objectOf(row) },
      detail: { id, step: row.step, reason: force.reason, missing: missing.slice(0, 20).map((one) => ({ ...one })) },
    })
  const next = rotationSteps[rotationSteps.indexOf(row.step as RotationStep) + 1]
  if (next === undefined) {
    const done = await updateRotation(tx, row, { slot: row.id, forced })
    await audited(centre, tx, caller, { action: 'rotation.done', object: objectOf(row), detail: { id } })
    return done !== undefined || lost(row)
  }
  await moveAuthorities(tx, row, next, now)
  const changes = next === 'tainted' ? {} : { seq }
  const updated = await updateRotation(tx, row, { step: next, stepAt: now, forced, ...changes })
  await audited(centre, tx, caller, { action: 'rotation.step', object: objectOf(row), detail: { id, step: next } })
  return updated !== undefined || lost(row)
}

/** What each step does to the two authorities. */
async function moveAuthorities(tx: Tx, row: RotationRow, next: RotationStep, now: number): Promise<void> {
  const { from, to } = await partiesOf(tx, row)
  if (next === 'published') await moveAuthority(tx, to, 'published', now)
  if (next === 'revoked') await moveAuthority(tx, from, 'revoked', now)
  if (next !== 'active') return
  await moveAuthority(tx, from, 'tainted', now)
  await moveAuthority(tx, to, 'active', now)
}

async function partiesOf(
  tx: Tx,
  row: RotationRow,
): Promise<{ readonly from: AuthorityRow; readonly to: AuthorityRow }> {
  const rows = await loadAuthorities(tx, row.mesh as Centre['mesh'])
  const [from, to] = [row.fromId, row.toId].map((id) => rows.find((one) => one.id === id))
  if (!from || !to) throw new Problem('internal', `an authority of rotation ${row.id} is not stored`)
  return { from, to }
}

function withForced(
  row: RotationRow,
  {
    force,
    missing,
    now,
  }: { readonly force: NonNullable<Step['force']>; readonly missing: readonly Missing[]; readonly now: number },
): string {
  const one: Forced = {
    step: row.step,
    reason: force.reason,
    by: callerText(force.caller),
    at: now,
    missing: missing.slice(0, 20),
  }
  return canonicalJson([...forcedOf(row), one].map((f) => ({ ...f, missing: f.missing.map((m) => ({ ...m })) })))
}

export const forcedOf = (row: RotationRow): readonly Forced[] => JSON.parse(row.forced) as readonly Forced[]

const objectOf = (row: RotationRow): string => `rotation of ${row.kind}`

/** Throws `not-found`. */
export const knownRotation = async (tx: Tx, mesh: MeshName, id: string): Promise<RotationRow> =>
  found(await loadRotation(tx, mesh, id), id)

const loadOpen = async (centre: Centre, id: string): Promise<RotationRow> =>
  openOf(await centre.db.read((tx) => loadRotation(tx, centre.mesh, id)), id)

function openOf(row: RotationRow | undefined, id: string): RotationRow {
  const known = found(row, id)
  if (isOpen(known)) return known
  throw new Problem('conflict', `the rotation of ${known.kind} has ended (${known.step}): begin another`)
}

function found(row: RotationRow | undefined, id: string): RotationRow {
  if (row) return row
  throw new Problem('not-found', `there is no rotation ${id.slice(0, 80)}: list them with GET /v1/rotations`)
}

const runsAlready = (row: RotationRow): Problem =>
  new Problem(
    'conflict',
    `a rotation of ${row.kind} runs already, begun at ${new Date(row.startedAt).toISOString()} by ${row.by}, now ` +
      `${row.step}: let it end, or abort it`,
    { extra: { id: row.id } },
  )

function lost(row: RotationRow): never {
  throw new LostRace(`rotation ${row.id} moved on`)
}
