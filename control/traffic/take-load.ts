import type { ClusterCaller } from '#control/caller.ts'
import { audited, type Centre } from '#control/centre.ts'
import { loadCluster } from '#control/store/clusters.ts'
import { type Acked, saveAcked } from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import { saveLoad } from '#control/store/loads.ts'
import { countShifts, insertShift } from '#control/store/shift-events.ts'
import { faultOf, judgedLoad, type RefusedRow, textOf } from '#control/traffic/judge-load.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { offeredTo } from '#control/traffic/offered.ts'
import { quotasFor } from '#control/traffic/quotas.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { Shift } from '#mesh/model/traffic.ts'
import { type LoadAnswer, type LoadRequest, shiftSchema } from '#mesh/wire/load.ts'

export type TakenLoad = {
  readonly answer: LoadAnswer
  readonly refused: readonly RefusedRow[]
  /** Configs that this report says all proxies have: how long it took from writing them. */
  readonly acked: readonly Acked[]
  /** It was taken before. */
  readonly again: boolean
}

const againMs = 10_000
const hourMs = 3_600_000
/** Shifts that one cluster may tell in an hour: what is beyond is told again later. */
const shiftsPerHour = 300
const refusedShown = 20

/**
 * Takes in what one cluster's relay measured. It speaks for the caller's own proxies alone: what names a service that is
 * not offered to them, a cluster that does not serve it, or numbers that cannot be, is refused row by row, and the rest
 * counts. The last report of each cluster is kept, with its last window. The same (epoch, seq) again changes nothing. Shifts become events, each
 * once by its own (epoch, seq).
 *
 * Throws `forbidden` where the cluster is no member any more.
 */
export async function takeLoad(centre: Centre, caller: ClusterCaller, request: LoadRequest): Promise<TakenLoad> {
  const taken = await centre.db.transact(async (tx) => {
    const cluster = await loadCluster(tx, centre.mesh, caller.id)
    if (cluster?.state !== 'joined')
      throw new Problem('forbidden', 'this cluster is not a member of the mesh: join it again with a new token')
    const offered = await offeredTo(centre, tx, caller.name)
    const loads = await knownLoads(centre, tx)
    const before = loads.get(caller.name)
    const again = before?.load.epoch === request.epoch && request.seq <= before.load.seq
    const takenAt = Math.max(centre.now(), (before?.takenAt ?? 0) + 1)
    const window = before?.load.window
    const { load, refused } = judgedLoad(request, { offered, takenAt, ...(window ? { before: window } : {}) })
    const stored = { cluster: caller.name, takenAt, load }
    if (!again) await saveLoad(tx, centre.mesh, stored)
    const acked = await ackedIn(centre, tx, caller, request)
    const { shiftsTaken, unread } = await takeShifts(centre, tx, caller, request)
    const now = again ? loads : new Map(loads).set(caller.name, stored)
    const all = [...refused, ...unread]
    const answer: LoadAnswer = {
      ...(shiftsTaken ? { shiftsTaken } : {}),
      quotas: await quotasFor(centre, tx, { cluster: caller.name, offered, loads: now }),
      againMs,
      ...(all.length > 0 ? { rejected: { count: all.length, first: all.slice(0, refusedShown) } } : {}),
      time: centre.now(),
    }
    return { answer, refused: all, acked, again }
  })
  if (!taken.again) centre.bus.announce({ kind: 'load', cluster: caller.name })
  return taken
}

/** Of a cluster without a proxy nobody measures how long anything took. */
async function ackedIn(centre: Centre, tx: Tx, caller: ClusterCaller, { acked, proxies }: LoadRequest) {
  const found: Acked[] = []
  for (const { hash, at } of acked)
    found.push(...(await saveAcked(tx, centre.mesh, caller.name, { hash, at, now: centre.now() })))
  return proxies.measured + proxies.notMeasured === 0 ? [] : found
}

/** Oldest first, so that what is taken has no gap. What a newer relay says and nobody here understands counts as told. */
async function takeShifts(centre: Centre, tx: Tx, caller: ClusterCaller, { shifts }: LoadRequest) {
  const unread: RefusedRow[] = []
  if (!shifts) return { unread }
  const { epoch, list } = shifts
  const now = centre.now()
  let room = shiftsPerHour - (await countShifts(tx, centre.mesh, caller.name, now - hourMs))
  let seq = 0
  for (const said of list) {
    const { data, error } = shiftSchema.safeParse(said)
    const number = Number(data?.seq ?? said['seq'])
    if (error) unread.push({ key: `shift ${textOf(String(said['seq']))}`, reason: faultOf(error) })
    if (!Number.isSafeInteger(number) || number < 0) continue
    if (data) {
      if (room <= 0) break
      const row = { mesh: centre.mesh, cluster: caller.name, epoch, seq: data.seq, at: now }
      if (await insertShift(tx, row)) {
        room -= 1
        await audited(centre, tx, caller, { ...{ action: `traffic.${data.kind}` }, ...eventOf(data) })
      }
    }
    seq = Math.max(seq, number)
  }
  return { shiftsTaken: { epoch, seq }, unread }
}

const namesShown = 100

const eventOf = ({ seq: _, ...shift }: Shift): { readonly object: string; readonly detail: Json } => ({
  object: `cluster ${shift.cluster}`,
  detail: { ...shift, from: shift.from.slice(0, namesShown), to: shift.to.slice(0, namesShown) } as Json,
})
