import { loadMembers } from '#control/store/clusters.ts'
import type { Database, Tx } from '#control/store/database.ts'
import { loadOutbox } from '#control/store/outbox.ts'
import type { Position } from '#control/store/stream-pages.ts'
import { epochStart, renewEpoch } from '#control/store/stream-writes.ts'
import { loadStreams, type StreamRow } from '#control/store/streams.ts'
import { type MeshName, parseMeshName } from '#mesh/model/id.ts'

/** How far each cluster's report has come, by cluster: moves with every batch that fits, heartbeats too. */
type Marks = ReadonlyMap<string, string>

/** That some reader is ahead of a stream. */
type Claim = {
  readonly epoch: string
  readonly since: number
  readonly marks: Marks
  /** A liar makes a stream begin anew once in ten minutes, so that lies cost little. */
  readonly notBefore: number
  askedAt: number
  renewedAt?: number
}
type Memory = { readonly claims: Map<string, Claim>; readonly marks: Map<string, { at: number; marks: Marks }> }

const renewMsMin = 10 * 60_000
/** Whoever is ahead asks every few seconds; a claim that nobody repeats is forgotten. */
const silenceMsMax = 60_000
/** Longer than a relay's heartbeat: whose relay is not heard by then is away, and does not hold back the configs of others. */
const configMsMax = 15_000
const claimsMax = 20_000

/** Only what this process saw: another begins to wait for itself, which costs a heartbeat. */
const memories = new WeakMap<Database, Memory>()

/**
 * True where a reader has seen more of a stream than the store holds: a later revision, or an epoch that was begun later.
 * Then the store was restored from a backup. An epoch from the future tells of a clock, not of a store.
 */
export function isAhead(held: Position, row: StreamRow, now: number): boolean {
  if (held === undefined) return false
  if (held.epoch === row.epoch) return held.rev > row.head
  const began = epochStart(held.epoch)
  return began > epochStart(row.epoch) && began <= now
}

/**
 * The streams among `ahead` that its reader must not be given yet; all others of them have begun a new epoch, because
 * revisions of the old one would be given out twice.
 *
 * A new epoch takes every reader back to what the store holds, so the store catches up first. An `ep` stream waits until
 * its source's relay was heard, which finds the gap in its own numbers and reports everything; a cluster that nobody
 * hears stays as its readers know it. A config waits for all members and the compilation, at most 15 seconds. What no
 * cluster can tell again (`trust`, `adv`) begins at once: there the backup is the truth.
 */
export async function heldBack(
  database: Database,
  mesh: string,
  ahead: readonly StreamRow[],
  now: number,
): Promise<ReadonlySet<string>> {
  const { marks, compiled } = await database.read(async (tx) => ({
    marks: await loadMarks(tx, parseMeshName(mesh)),
    compiled: (await loadOutbox(tx, parseMeshName(mesh))).length === 0,
  }))
  const memory = memories.get(database) ?? { claims: new Map(), marks: new Map() }
  memories.set(database, memory)
  const held = new Set<string>()
  for (const row of ahead) {
    const claim = claimOn(memory, row, marks, now)
    if (now >= claim.notBefore && hasCaughtUp(row, claim, { marks, compiled, now })) {
      await database.transact((tx) => renewEpoch(tx, row, now))
      claim.renewedAt = now
    } else held.add(row.stream)
  }
  return held
}

/** Of all members. A report that is not complete has no mark: its cluster is not heard yet. */
async function loadMarks(tx: Tx, mesh: MeshName): Promise<Marks> {
  const reports = (await loadStreams(tx, mesh, ['rep'])).filter((row) => row.complete)
  const marks = new Map(reports.map(({ source, srcEpoch, srcSeq }) => [source, `${srcEpoch} ${srcSeq}`]))
  return new Map((await loadMembers(tx, mesh)).map(({ name }) => [name, marks.get(name) ?? '']))
}

function claimOn({ claims, marks: seen }: Memory, row: StreamRow, marks: Marks, now: number): Claim {
  const name = `${row.mesh} ${row.stream}`
  const before = claims.get(name)
  const goesOn = before?.epoch === row.epoch && before.renewedAt === undefined && now - before.askedAt < silenceMsMax
  if (before && goesOn) {
    before.askedAt = now
    return before
  }
  // All that is found within a second shares one copy, or configs would cost the square of the clusters.
  const shared = seen.get(row.mesh)
  const copy = shared && now - shared.at < 1000 ? shared : { at: now, marks }
  seen.set(row.mesh, copy)
  if (claims.size >= claimsMax) claims.clear()
  const notBefore = before?.renewedAt === undefined ? now : before.renewedAt + renewMsMin
  const claim: Claim = { epoch: row.epoch, since: now, marks: copy.marks, notBefore, askedAt: now }
  claims.set(name, claim)
  return claim
}

function hasCaughtUp(
  row: StreamRow,
  claim: Claim,
  is: { readonly marks: Marks; readonly compiled: boolean; readonly now: number },
): boolean {
  const heard = (source: string): boolean => {
    const mark = is.marks.get(source) ?? ''
    return mark !== '' && mark !== claim.marks.get(source)
  }
  if (row.kind === 'ep') return heard(row.source)
  if (row.kind !== 'cfg') return true
  return (is.compiled && [...is.marks.keys()].every(heard)) || is.now - claim.since >= configMsMax
}
