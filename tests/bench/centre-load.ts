import type { CentreEngine, EngineFigures, SyncFigures, SyncPoint } from '#tests/bench/centre-figures.ts'
import {
  type FloorOf,
  measureEmbeddedFloor,
  measureHttpFloor,
  measurePostgresFloor,
} from '#tests/bench/centre-floors.ts'
import { type CentreLine, checkCentre, measureHints, watchAll } from '#tests/bench/centre-hints.ts'
import { type BenchMember, joinBenchMember, type MemberPlan } from '#tests/bench/centre-member.ts'
import { type Duration, loadCentre, quiet } from '#tests/bench/centre-sync.ts'
import { rssOf } from '#tests/bench/load/process.ts'

/** What the load generator is told: a process of its own, so that its cost is seen and is not the centre's. */
export type LoadPlan = {
  readonly engine: CentreEngine
  readonly centre: CentreLine & { readonly pid: number }
  readonly databaseUrl?: string
  /** All that will join; a point of n members takes the first n. */
  readonly members: readonly MemberPlan[]
  readonly points: readonly SyncPoint[]
  readonly duration: Duration
  readonly floor: Duration
  readonly hints: { readonly changes: number; readonly spaceMs: number }
}

export type LoadAnswer = { readonly figures: EngineFigures } | { readonly fault: string }

const restMs = 120_000

process.once('message', (plan: LoadPlan) => {
  void measure(plan)
    .then(
      (figures): LoadAnswer => ({ figures }),
      (error: unknown): LoadAnswer => ({
        fault: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
    )
    .then((answer) => process.send?.(answer, () => process.exit()))
})

async function measure({ centre, engine, databaseUrl, ...plan }: LoadPlan): Promise<EngineFigures> {
  const members: BenchMember[] = []
  const syncs: SyncFigures[] = []
  // With few members first: each one that is there makes every round of a publisher and every list of heads longer.
  for (const point of plan.points.toSorted((a, b) => a.members - b.members)) {
    for (const one of plan.members.slice(members.length, point.members)) members.push(await joinBenchMember(one))
    await quiet(centre.pid, restMs)
    const some = members.slice(0, point.members)
    const watched = point.watched ? await watchAll(centre, some) : undefined
    const before = watched?.hints() ?? 0
    const loaded = await loadCentre(some, point.items, centre.pid, plan.duration)
    const hints = (watched?.hints() ?? 0) - before
    watched?.close()
    const [reader, ...others] = some
    if (!reader) throw new Error('a point without members')
    await checkCentre(reader, others)
    const request = reader.next(point.items)
    const answer = await reader.send(request)
    await quiet(centre.pid, restMs)
    const floor: FloorOf = { callers: point.members, request, answer, duration: plan.floor }
    syncs.push({
      ...{ ...point, ...loaded },
      hintsPerSecond: hints / ((plan.duration.measured + plan.duration.warm) / 1000),
      httpFloor: await measureHttpFloor(floor),
      storeFloor: databaseUrl ? await measurePostgresFloor(databaseUrl, floor) : await measureEmbeddedFloor(floor),
    })
  }
  const [reader, ...writers] = members
  if (!reader) throw new Error('no members')
  await quiet(centre.pid, restMs)
  const hints = await measureHints(centre, { writers, reader }, plan.hints)
  for (const member of members) member.close()
  return { syncs, hints, centreRssMb: rssOf(centre.pid) / 1e6 }
}
