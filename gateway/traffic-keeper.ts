import { join } from 'node:path'
import { openEmptiedTiers } from '#gateway/emptied-tiers.ts'
import type { Beacon } from '#gateway/health/ask-beacon.ts'
import { failbacksOf, type Health, type Hearsay, openHealth } from '#gateway/health/health.ts'
import type { ProbeLeaf } from '#gateway/health/probe-leaf.ts'
import { loadHealth, saveHealth } from '#gateway/kept-health.ts'
import { openPeaks } from '#gateway/peaks.ts'
import { openShiftLog, type ShiftLog } from '#gateway/shift-log.ts'
import { shiftOf } from '#gateway/shift-of.ts'
import { sameParts } from '#gateway/traffic-parts.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { ClusterName, ServiceKey } from '#mesh/model/id.ts'
import { type Advice, noAdvice, type Shift, type Traffic } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { type Caps, drainedClusters, trafficOf } from '#mesh/policy/admissions.ts'
import {
  type ClusterState,
  defaultFailback,
  type Judged,
  lostActing,
  type Move,
  percentOf,
} from '#mesh/policy/judge-health.ts'
import { type ServiceMove, serviceEvidence, serviceSaw } from '#mesh/policy/judge-services.ts'
import { keptHealth, keptServices, restoredHealth, restoredServices } from '#mesh/policy/kept-health.ts'
import { parseAdvice } from '#mesh/wire/advice.ts'

export type TrafficKeeperParts = {
  readonly stateDir: string
  readonly view: () => View
  readonly leaf: ProbeLeaf
  readonly beacons: readonly Beacon[]
  /** How long ago the centre was last heard; undefined = never. */
  readonly centreHeardMsAgo: () => number | undefined
  /** `traffic()` is another one. */
  readonly onChange: () => void
  /** There are shifts that the centre was not told of. */
  readonly onShifts?: () => void
  /** How many calls failed to a cluster in the last ms; null = not measured. */
  readonly failedIn?: (cluster: ClusterName, ms: number) => number | null
  readonly log: { info(facts: object, text: string): void; warn(facts: object, text: string): void }
  /** Unix ms. */
  readonly wall: () => number
  /** Monotonic ms. */
  readonly now?: () => number
  readonly times?: Parameters<typeof openHealth>[0]['times']
}

/** A part of a service's calls that may go to one cluster, 0..1. */
export type Cap = { readonly service: ServiceKey; readonly cluster: ClusterName; readonly cap: number }

/** What a relay knows about its callers' traffic: verdicts, the centre's advice, caps and peaks, made one. */
export type TrafficKeeper = {
  traffic(): Traffic | undefined
  /** The items of stream `adv/<mesh>`. */
  advice(items: ReadonlyMap<string, Json>): void
  /** All caps there are; what is not named has none. Steps below five points are not followed. */
  quotas(list: readonly Cap[]): void
  /** Config, summaries or the own cluster are others. Gives whether traffic is. */
  look(): boolean
  /** What the centre was not told yet. */
  shifts(): { readonly epoch: string; readonly shifts: readonly Shift[] }
  taken(epoch: string, seq: number): void
  health(): Pick<Health, 'judged' | 'services' | 'wrong' | 'counts' | 'reached'> & {
    readonly advice: Advice
    readonly unread: readonly string[]
    readonly log: Pick<ShiftLog, 'recent' | 'counts'>
    /** Monotonic ms, of the times in `judged`. */
    readonly now: number
  }
  stop(): void
}

const capStep = 0.05

/** Opens what was kept before anybody is served: so the first answer of a relay that starts again is the last one. */
export function openTrafficKeeper(parts: TrafficKeeperParts): TrafficKeeper {
  const { view, log, wall, now = () => performance.now() } = parts
  const path = join(parts.stateDir, 'health.json')
  const warn = (text: string) => log.warn({ path }, text)
  const kept = loadHealth(path, wall(), warn)
  const shifts = openShiftLog(kept)
  const peaks = openPeaks(now)
  const emptied = openEmptiedTiers({ ...{ wall, now }, onShift: noteEmptied })
  let heard: { readonly advice: Advice; readonly unread: readonly string[] } = { advice: noAdvice, unread: [] }
  let caps: Caps = new Map()
  let saved = ''
  let traffic: Traffic | undefined
  const health = openHealth({
    ...{ view, leaf: parts.leaf, beacons: parts.beacons, hearsay, now },
    begin: restoredHealth(kept.clusters, now(), wall() - kept.savedAt),
    beginServices: restoredServices(kept.services, now(), wall() - kept.savedAt),
    ...(parts.times ? { times: parts.times } : {}),
    onJudged,
  })
  traffic = trafficNow()

  return {
    traffic: () => traffic,
    advice: (items) => {
      const before = heard.advice.frozen
      heard = parseAdvice(items, heard.advice)
      const { frozen } = heard.advice
      if (frozen && !before) log.warn({ ...frozen }, 'nothing moves by itself: traffic is frozen')
      else if (before && !frozen) log.info({}, 'traffic is not frozen any more')
      health.look()
      renewed()
    },
    quotas: (list) => {
      caps = capsAfter(caps, list)
      renewed()
    },
    look: () => {
      const before = traffic
      health.look()
      traffic = trafficNow()
      return traffic !== before
    },
    shifts: () => ({ epoch: kept.epoch, shifts: shifts.untold() }),
    taken: (epoch, seq) => {
      if (epoch !== kept.epoch) return
      const before = shifts.untold().length
      shifts.taken(seq)
      if (shifts.untold().length !== before) save(health.judged())
    },
    health: () => ({
      ...{ judged: health.judged, services: health.services, wrong: health.wrong },
      ...{ counts: health.counts, reached: health.reached },
      ...{ ...heard, log: shifts, now: now() },
    }),
    stop: () => {
      health.stop()
      save(health.judged())
    },
  }

  function hearsay(): Hearsay {
    return {
      centreHeardMsAgo: parts.centreHeardMsAgo(),
      frozen: heard.advice.frozen !== undefined,
      lost: new Set(heard.advice.lost.filter(({ until }) => until > wall()).map(({ cluster }) => cluster)),
      drained: drainedClusters(heard.advice),
    }
  }

  function onJudged(judged: Judged, moves: readonly (Move | ServiceMove)[]): void {
    const before = traffic
    renewed()
    for (const move of moves) note(move, before)
    emptied.look(view())
    const standing = standingOf(judged)
    if (moves.length > 0 || standing !== saved) save(judged)
    if (moves.length > 0) parts.onShifts?.()
  }

  function note(move: Move | ServiceMove, before: Traffic | undefined): void {
    const { kind, cluster, evidence } = move
    const failed = parts.failedIn?.(cluster, evidence?.forMs ?? 0) ?? null
    const shift = shiftOf(move, { view: view(), before, after: traffic, at: wall(), failedMeanwhile: failed })
    shifts.add(shift)
    const facts = { kind, cluster, evidence, services: shift.servicesCount, to: shift.to }
    const saw = 'service' in move && evidence ? serviceSaw(serviceEvidence(move.probe, evidence)) : undefined
    const about = 'service' in move ? { ...facts, service: move.service, saw } : facts
    const text = 'service' in move ? saysOfService[kind] : says[kind]
    if (kind === 'shift' || kind === 'frozen-shift') log.warn(about, text)
    else log.info(about, text)
  }

  function noteEmptied(shift: Omit<Shift, 'seq'>): void {
    shifts.add(shift)
    const { kind, services, to, evidence } = shift
    const facts = { kind, services, to, ready: evidence.ready }
    if (kind === 'shift')
      log.warn(facts, 'the first tier of a service has no ready pod: its callers are served below it')
    else log.info(facts, 'the first tier of a service has ready pods again')
    save(health.judged())
    parts.onShifts?.()
  }

  function renewed(): void {
    const next = trafficNow()
    if (next === traffic) return
    traffic = next
    parts.onChange()
  }

  function trafficNow(): Traffic | undefined {
    const { home, config, summaries } = view()
    const judged = health.judged()
    const next = trafficOf({
      ...{ home: home.cluster, config, gateways: summaries.gateways, judged, now: now() },
      services: health.services.judged(),
      ...{ advice: heard.advice, lost: lostNow(judged), caps, peaks: peaks.look(view()) },
    })
    return sameParts(traffic, next)
  }

  function lostNow(judged: Judged): ReadonlySet<ClusterName> {
    const said = hearsay()
    if (said.lost.size === 0) return said.lost
    const imported = new Map([...judged.clusters.keys()].map((name) => [name, []]))
    return lostActing(judged, { ...said, imported, probes: [], beacons: [] })
  }

  /** What a restart must not lose, a sudden one neither: each phase, and each step of a ramp in whatever service. */
  function standingOf(judged: Judged): string {
    const ways = failbacksOf(view().config)
    const all = [...judged.clusters].filter(([, { phase, flaps }]) => phase !== 'in' || flaps > 0)
    const percents = (name: ClusterName, state: ClusterState): readonly number[] =>
      (ways.get(name) ?? [defaultFailback]).map((way) => percentOf(state, way, now()))
    const clusters = all.map(([name, state]) => [name, state.phase, state.flaps, percents(name, state)])
    return JSON.stringify([clusters, keptServices(health.services.judged(), now()).map(servicePhases)])
  }

  function servicePhases({ service, probe, clusters }: ReturnType<typeof keptServices>[number]): unknown {
    const way = view().config?.imports.get(service)?.policy ?? defaultFailback
    const states = health.services.judged().get(service)?.judged.clusters
    const percentIn = (cluster: ClusterName): number => {
      const state = states?.get(cluster)
      return state ? percentOf(state, way, now()) : 100
    }
    return [service, probe, clusters.map(({ cluster, phase, flaps }) => [cluster, phase, flaps, percentIn(cluster)])]
  }

  function save(judged: Judged): void {
    saved = standingOf(judged)
    const clusters = keptHealth(judged, now())
    const services = keptServices(health.services.judged(), now())
    const untold = shifts.untold()
    saveHealth(path, { savedAt: wall(), clusters, services, epoch: kept.epoch, seq: shifts.seq(), untold }, warn)
  }
}

const says = {
  shift: 'callers are moved away from a cluster whose gateways do not answer',
  'frozen-shift': 'a cluster’s gateways do not answer; callers stay because traffic is frozen',
  return: 'callers return to a cluster by and by',
  'ramp-done': 'a cluster has its whole share again',
} as const

const saysOfService = {
  shift: 'callers of a service are moved away from a cluster in which its probe fails',
  'frozen-shift': 'a probe of a service fails in a cluster; callers stay because traffic is frozen',
  return: 'callers of a service return to a cluster by and by',
  'ramp-done': 'a cluster has its whole share of a service again',
} as const

function capsAfter(before: Caps, list: readonly Cap[]): Caps {
  const after = new Map<ServiceKey, Map<ClusterName, number>>()
  for (const { service, cluster, cap } of list) {
    const said = Math.min(1, Math.max(0, cap))
    const last = before.get(service)?.get(cluster)
    const isStep =
      last === undefined || Math.abs(said - last) >= capStep || ((said === 0 || said === 1) && said !== last)
    after.set(service, (after.get(service) ?? new Map<ClusterName, number>()).set(cluster, isStep ? said : last))
  }
  return after
}
