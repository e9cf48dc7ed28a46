import { isIP } from 'node:net'
import { type Caller, callerText } from '#control/caller.ts'
import { askPublish, audited, type Centre } from '#control/centre.ts'
import { loadFleet } from '#control/load-fleet.ts'
import { newId } from '#control/new-id.ts'
import { once } from '#control/once.ts'
import { loadClusterByName } from '#control/store/clusters.ts'
import type { Tx } from '#control/store/database.ts'
import { type DrainRow, drainSlot, insertDrain, loadDrain, loadOpenDrains, updateDrain } from '#control/store/drains.ts'
import { changeOf } from '#control/stream-change.ts'
import { lockAdvice, subjectOf, writeAdvice } from '#control/traffic/advice.ts'
import { baselineOf, scopeOf } from '#control/traffic/drain-sight.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { loadSummaries } from '#control/traffic/load-summaries.ts'
import { forecastFacts } from '#control/traffic/sight.ts'
import { compile } from '#mesh/compile/compile.ts'
import { checkDrain, type DrainCheck, type DrainFacts } from '#mesh/foresee/check-drain.ts'
import { addressKey } from '#mesh/model/address.ts'
import { canonicalJson } from '#mesh/model/canonical.ts'
import { type DrainKind, type DrainSubject, drainSubjectText, parseDrainSubject } from '#mesh/model/drain.ts'
import { parseClusterName } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { drainBars, type HeardLoad } from '#mesh/policy/drain-sight.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'

export type DrainWish = {
  readonly kind: DrainKind
  /** As `drainSubjectText` says it. */
  readonly subject: string
  readonly overMs: number
  readonly graceMs: number
  readonly reason: string
  /** Lead it out although those that are left said that they take less than is asked of them. */
  readonly force?: boolean
  /** The caller's Idempotency-Key. */
  readonly nonce?: string | undefined
}

/** A drain that was begun; `warnings` are for its author and stop nothing. */
export type Begun = { readonly row: DrainRow; readonly warnings: readonly string[] }

type Facts = Omit<DrainFacts, 'others'> & { readonly loads: readonly HeardLoad[] }

/**
 * Begins to lead something out of traffic; `stepDrains` goes on with it. What is asked is checked under the lock of all
 * drains, so of two that are begun at once the second sees the first. Throws `invalid` for a subject of another form,
 * `not-found` where there is no such thing, `conflict` where it is drained already, or with every service and caller that
 * would have nobody left; and where capacity is short, unless `force`.
 */
export async function startDrain(centre: Centre, caller: Caller, wish: DrainWish): Promise<Begun> {
  const subject = parseDrainSubject(wish.kind, wish.subject)
  const facts = await drainFacts(centre)
  checkExists(subject, facts)
  const { nonce, ...request } = { ...wish, subject: drainSubjectText(subject), force: wish.force ?? false }
  let warnings: readonly string[] = []
  const { id, delta } = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    const { id } = await once(centre, tx, { caller, action: 'drain.start', nonce, request }, async () => {
      const baseline = canonicalJson(baselineOf(facts.loads, scopeOf(subject, facts.configs)))
      const row = { ...rowOf(centre, caller, wish, subject), baseline }
      const { shortages, ...passed } = await passes(centre, tx, { subject, facts, force: wish.force })
      warnings = passed.warnings
      await insertDrain(tx, row)
      const forced = shortages.map(({ path, reason }) => `${path}: ${reason}`)
      const detail = {
        ...{ id: row.id, overMs: wish.overMs, graceMs: wish.graceMs },
        ...(wish.reason === '' ? {} : { reason: wish.reason }),
        ...(forced.length > 0 ? { forced } : {}),
      }
      await audited(centre, tx, caller, { action: 'drain.start', object: shownSubject(subject), detail })
      return { id: row.id }
    })
    return { id, delta: await writeAdvice(centre, tx) }
  })
  tell(centre, delta)
  return { row: await knownDrain(centre, id), warnings }
}

/** What the start of such a drain would say, without one. Throws as it would. */
export async function rehearseDrain(
  centre: Centre,
  wish: Pick<DrainWish, 'kind' | 'subject' | 'force'>,
): Promise<{ readonly subject: DrainSubject; readonly warnings: readonly string[] }> {
  const subject = parseDrainSubject(wish.kind, wish.subject)
  const facts = await drainFacts(centre)
  checkExists(subject, facts)
  return centre.db.read(async (tx) => {
    const { warnings, shortages } = await passes(centre, tx, { subject, facts, force: wish.force })
    return { subject, warnings: [...warnings, ...shortages.map(({ path, reason }) => `${path}: ${reason}`)] }
  })
}

/** What there is to say of a drain that may begin beside those that are open; throws what speaks against it. */
async function passes(
  centre: Centre,
  tx: Tx,
  {
    subject,
    facts,
    force,
  }: { readonly subject: DrainSubject; readonly facts: Facts; readonly force?: boolean | undefined },
): Promise<DrainCheck> {
  const cluster = await loadClusterByName(tx, centre.mesh, subject.cluster)
  if (cluster?.state !== 'joined') throw noMember(subject.cluster)
  const open = await loadOpenDrains(tx, centre.mesh)
  const slot = drainSlot({ kind: subject.kind, subject: drainSubjectText(subject) })
  const same = open.find((one) => one.slot === slot)
  if (same) throw drainedAlready(same)
  const check = checkDrain(subject, { ...facts, others: open.map(subjectOf) })
  if (check.refusals.length > 0) throw refused(subject, check.refusals, 'give its callers somewhere else to go first')
  if (check.shortages.length > 0 && !force)
    throw refused(subject, check.shortages, 'raise capacity there, or say --force with a reason')
  return check
}

/** Takes a drain back, whatever state it is in: opens, then gives back half of its share and all. Throws `not-found`. */
export async function undoDrain(
  centre: Centre,
  caller: Caller,
  { id, reason }: { readonly id: string; readonly reason: string },
): Promise<DrainRow> {
  const delta = await centre.db.transact(async (tx) => {
    await lockAdvice(centre, tx)
    const row = await loadDrain(tx, centre.mesh, id)
    if (!row) throw noDrain(id)
    if (row.state === 'undone' || row.state === 'returning') return undefined
    const by = callerText(caller)
    const why = row.percent === 100 ? `undone by ${by}` : `it comes back, by ${by}`
    const next = row.percent === 100 ? ({ state: 'undone', slot: row.id } as const) : ({ state: 'returning' } as const)
    const detail = { id, percent: row.percent, ...(reason === '' ? {} : { reason }) }
    await audited(centre, tx, caller, { action: 'drain.undo', object: shownSubject(subjectOf(row)), detail })
    return (await moved(centre, tx, row, { ...next, stepAt: centre.now(), why }, { author: by }))?.delta
  })
  tell(centre, delta)
  return knownDrain(centre, id)
}

/**
 * Writes what a drain is now, and with it what relays hear. Only under `lockAdvice`. Undefined where somebody else has
 * moved it meanwhile; without a delta where relays hear the same as before.
 */
export async function moved(
  centre: Centre,
  tx: Tx,
  row: DrainRow,
  change: Parameters<typeof updateDrain>[2],
  { author }: { readonly author: string },
): Promise<{ readonly delta: StreamDelta | undefined } | undefined> {
  const next = await updateDrain(tx, row, change)
  if (!next) return undefined
  if (next.kind === 'service') await askPublish(centre, tx, { cause: `drain of ${next.kind} ${next.subject}`, author })
  return { delta: await writeAdvice(centre, tx) }
}

/** To be called once it is committed. */
export function tell(centre: Centre, delta: StreamDelta | undefined): void {
  centre.bus.announce({ kind: 'outbox' })
  if (delta) centre.bus.announce({ kind: 'streams', changes: [changeOf(delta)], urgent: true })
}

/** Throws `not-found`. */
export async function knownDrain(centre: Centre, id: string): Promise<DrainRow> {
  const row = await centre.db.read((tx) => loadDrain(tx, centre.mesh, id))
  if (!row) throw noDrain(id)
  return row
}

/** `cluster ireland-1`, as it stands in the audit log. */
export const shownSubject = (subject: DrainSubject): string => `${subject.kind} ${drainSubjectText(subject)}`

/** What the fate of callers is judged by, as it is now. */
export async function drainFacts(centre: Centre): Promise<Facts> {
  return centre.db.read(async (tx) => {
    const configs = compile(await loadFleet(tx, centre.mesh, new Map()))
    const { sight, demands } = await forecastFacts(centre, tx, await loadSummaries(tx, centre.mesh))
    const now = centre.now()
    const loads = [...(await knownLoads(centre, tx)).values()]
    return { configs, sight, demands, loads: loads.filter(({ takenAt }) => now - takenAt <= drainBars.heardMs) }
  })
}

/** Throws `not-found` for what nobody has. */
function checkExists(subject: DrainSubject, { configs, sight }: Facts): void {
  const { cluster } = subject
  const config = configs.get(cluster)
  if (!config) throw noMember(cluster)
  if (subject.kind === 'service' && !config.exports.has(subject.service))
    throw new Problem('not-found', `cluster ${cluster} exports no service ${subject.service}: see /v1/service-exports`)
  if (subject.kind !== 'gateway') return
  const gateways = sight.gateways.get(cluster)?.gateways ?? []
  const known = gateways.find((one) => addressKey(one) === subject.gateway)
  if (!known) throw new Problem('not-found', `cluster ${cluster} has no gateway ${subject.gateway}: see /v1/gateways`)
  // Callers know the addresses that it leads to, and its relay the proxies at addresses: nobody both.
  if (isIP(known.address) === 0)
    throw new Problem(
      'conflict',
      `gateway ${subject.gateway} of ${cluster} is announced by a host name, and nobody knows which proxies stand behind ` +
        'it: take its address out of that name, or drain the cluster',
    )
}

function rowOf(centre: Centre, caller: Caller, wish: DrainWish, subject: DrainSubject): DrainRow {
  const now = centre.now()
  const row = {
    ...{ mesh: centre.mesh, id: newId(now), kind: subject.kind, subject: drainSubjectText(subject) },
    ...{ state: 'ramping' as const, percent: 100, overMs: wish.overMs, graceMs: wish.graceMs },
    ...{ startedAt: now, stepAt: now, by: callerText(caller), reason: wish.reason, why: 'it begins' },
    ...{ proof: '', baseline: '', revision: 1 },
  }
  return { ...row, slot: drainSlot(row) }
}

function refused(subject: DrainSubject, violations: readonly Violation[], mend: string): Problem {
  const [first] = violations
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : ''
  const why = first ? `${first.path}: ${first.reason}` : ''
  return new Problem('conflict', `${shownSubject(subject)} is not drained: ${why}${more}: ${mend}`, {
    violations: violations.slice(0, 100),
  })
}

function drainedAlready({ id, kind, subject, state, percent, by }: DrainRow): Problem {
  const how = `${state} at ${percent} %, by ${by}: see /v1/drains/${id}`
  const then = {
    returning: `is on its way back: ${how}; once it is undone it can be drained again`,
    stopped: `is drained already: ${how}; undo it (isthmus undrain ${kind} ${subject}), then it can be drained again`,
  }
  const why = state === 'returning' || state === 'stopped' ? then[state] : `is drained already: ${how}`
  return new Problem('conflict', `${kind} ${subject} ${why}`, { extra: { id } })
}

const noMember = (cluster: string): Problem =>
  new Problem('not-found', `there is no member cluster ${parseClusterName(cluster)}: see /v1/clusters`)

const noDrain = (id: string): Problem =>
  new Problem('not-found', `there is no drain ${id.slice(0, 64)}: see /v1/drains`)
