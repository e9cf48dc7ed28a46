import type { Centre } from '#control/centre.ts'
import { loadFleet } from '#control/load-fleet.ts'
import type { Tx } from '#control/store/database.ts'
import type { DrainRow } from '#control/store/drains.ts'
import { loadItems, loadStream, type StreamRef } from '#control/store/streams.ts'
import { adviceRef, isClosing, subjectOf } from '#control/traffic/advice.ts'
import { knownLoads } from '#control/traffic/known-loads.ts'
import { compile } from '#mesh/compile/compile.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import type { DrainSubject } from '#mesh/model/drain.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import type { Load } from '#mesh/model/load.ts'
import {
  type DrainScope,
  drainBars,
  errorRateOf,
  failingOf,
  type HeardLoad,
  quietOf,
  type Watched,
  watched,
} from '#mesh/policy/drain-sight.ts'
import type { DrainSight } from '#mesh/policy/plan-drain.ts'
import { adviceKeys } from '#mesh/wire/advice.ts'
import { cfgStream } from '#mesh/wire/stream.ts'

/** What a stepper remembers of a drain in its state between rounds, only to judge sooner: losing it costs nothing but time. */
export type DrainMemo = Map<string, Remembered>
type Remembered = {
  readonly scope: DrainScope
  watched: ReadonlyMap<ClusterName, Watched>
  /** When a step was held, because it would have left somebody without anybody, and whom. */
  held?: { readonly at: number; readonly why: string }
}
export const drainMemoKey = ({ id, state }: Pick<DrainRow, 'id' | 'state'>): string => `${id} ${state}`
export const newDrainMemo = (): DrainMemo => new Map()

/** Whom the drain of a subject concerns, as configs are now. */
export function scopeOf(subject: DrainSubject, configs: ReadonlyMap<ClusterName, ClusterConfig>): DrainScope {
  const own = configs.get(subject.cluster)
  const exported = [...(own?.exports.keys() ?? [])]
  const services = new Set<ServiceKey>(subject.kind === 'service' ? [subject.service] : exported)
  const callers = new Map<ClusterName, 'gateways' | 'pods'>()
  for (const [caller, config] of [...configs].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (caller === subject.cluster) continue
    const calls = [...services].some((key) =>
      config.imports.get(key)?.sources.some(({ cluster }) => cluster === subject.cluster),
    )
    if (calls) callers.set(caller, config.network === own?.network ? 'pods' : 'gateways')
  }
  return { subject, services, callers }
}

/** Errors per call by caller, before anything is moved; who says too little is left out. */
export const baselineOf = (loads: readonly HeardLoad[], { services, callers }: DrainScope): Record<string, number> =>
  Object.fromEntries(
    loads.flatMap(({ cluster, load }) => {
      const rate = callers.has(cluster) && load.window ? errorRateOf(load.window, services) : undefined
      return rate === undefined ? [] : [[cluster, rate]]
    }),
  )

/** What is seen of a drain now. */
export async function sightOf(centre: Centre, row: DrainRow, memo: DrainMemo): Promise<DrainSight> {
  const now = centre.now()
  const subject = subjectOf(row)
  return centre.db.read(async (tx) => {
    const key = drainMemoKey(row)
    const known: Remembered = memo.get(key) ?? {
      scope: scopeOf(subject, compile(await loadFleet(tx, centre.mesh, new Map()))),
      watched: new Map<ClusterName, Watched>(),
    }
    memo.set(key, known)
    const { scope } = known
    const loads = await knownLoads(centre, tx)
    const baseline = baselineIn(row)
    const concerned = [...scope.callers.keys(), subject.cluster]
    known.watched = new Map(
      concerned.flatMap((cluster) => {
        const one = loads.get(cluster)
        const facts = { since: row.stepAt, baseline: baseline[cluster] }
        const seen = one && watched(known.watched.get(cluster), one, scope, facts)
        return seen ? [[cluster, seen]] : []
      }),
    )
    const isAway = ({ takenAt }: HeardLoad): boolean => now - takenAt > drainBars.heardMs
    // Coming back, who has to open is waited for; else those who call.
    const whose = concerned.filter((cluster) => (cluster === subject.cluster) === (row.state === 'returning'))
    const awaited = whose.flatMap((cluster) => loads.get(cluster) ?? [])
    const follows = await followersOf(centre, tx, row, awaited)
    const failing = failingOf(known.watched)
    return {
      behind: awaited.filter((one) => !isAway(one) && !follows(one)).map(({ cluster }) => cluster),
      unheard: awaited.filter(isAway).map(({ cluster }) => cluster),
      silent: whose.filter((cluster) => !loads.has(cluster)),
      ...(failing === undefined ? {} : { failing }),
      quiet: quietOf(known.watched, loads, scope, now),
    }
  })
}

const baselineIn = ({ baseline }: DrainRow): Readonly<Record<string, number>> =>
  baseline === '' ? {} : (JSON.parse(baseline) as Record<string, number>)

type Follows = (one: HeardLoad) => boolean
type Place = { readonly epoch: string; readonly rev: number; readonly body: string }

/** Whether a relay has in force what the drain says now. */
async function followersOf(centre: Centre, tx: Tx, row: DrainRow, all: readonly HeardLoad[]): Promise<Follows> {
  const subject = subjectOf(row)
  if (subject.kind !== 'service') {
    const said = await placeOf(tx, adviceRef(centre), adviceKeys.drain(row.id))
    return ({ load }) => said === undefined || isAt(load.adv, said)
  }
  const isIn = new Map<ClusterName, boolean>()
  for (const { cluster, load } of all) {
    const isOwn = cluster === subject.cluster
    const key = `${isOwn ? 'export' : 'import'}/${subject.service}`
    const said = await placeOf(tx, { mesh: centre.mesh, stream: cfgStream(cluster) }, key)
    isIn.set(cluster, said === undefined || (isAt(load.cfg, said) && isSaid(said, row, isOwn)))
  }
  return ({ cluster }) => isIn.get(cluster) ?? true
}

const isAt = (at: Load['adv'] | Load['cfg'], { epoch, rev }: Place): boolean => at?.epoch === epoch && at.rev >= rev

/** Whether what was compiled says what the drain says: a publish may still be under way. */
function isSaid({ body }: Place, row: DrainRow, isOwn: boolean): boolean {
  const said = JSON.parse(body) as { closing?: boolean; drains?: readonly { cluster: string; percent: number }[] }
  if (isOwn) return (said.closing ?? false) === isClosing(row)
  const percent = said.drains?.find(({ cluster }) => cluster === subjectOf(row).cluster)?.percent
  return (percent ?? 100) === row.percent
}

/** Where an item stands in its stream; undefined where it is not there (any more). */
async function placeOf(tx: Tx, ref: StreamRef, key: string): Promise<Place | undefined> {
  const stream = await loadStream(tx, ref)
  const [item] = await loadItems(tx, ref, [key])
  return stream && item && !item.gone ? { epoch: stream.epoch, rev: item.rev, body: item.body } : undefined
}
