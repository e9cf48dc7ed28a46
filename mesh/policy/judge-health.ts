import type { ClusterName } from '#mesh/model/id.ts'
import type { Evidence, ProbeResult } from '#mesh/model/traffic.ts'

/** How other clusters' gateways are judged: what was measured and what others use, in milliseconds and counts. */
export const healthTimes = {
  everyMs: 3000,
  timeoutMs: 1000,
  failures: 3,
  goods: 5,
  holdMs: 60_000,
  rampMs: 300_000,
  holdMsMax: 1_800_000,
  lookMs: 200,
  /** Out again so soon after a return: the next hold is twice as long. */
  flapMs: 600_000,
  /** So long without going out takes one doubling back. */
  quietMs: 1_800_000,
  /** A centre that was heard so recently says that this relay is not alone. */
  centreMs: 10_000,
} as const

export const phases = ['in', 'out', 'holding', 'returned'] as const
export type Phase = (typeof phases)[number]

/**
 * What the verdict on a cluster stands on: how many of its gateways fail, how, and for how long. Of one of its services
 * also what the last failure `said`, and how many there were `inRow`.
 */
export type ProbeEvidence = NonNullable<Evidence['probe']> & { readonly said?: string; readonly inRow?: number }

export type ClusterState = {
  readonly phase: Phase
  /** When it came into this phase. */
  readonly since: number
  /** Holding and returned: since when it is well, less the time in which nothing was to move. */
  readonly goodSince?: number
  /** How often it went out again soon after it returned. */
  readonly flaps: number
  readonly evidence?: ProbeEvidence
  /** When it last began to return. */
  readonly returnedAt?: number
  /** From when on the time without a flap counts. */
  readonly quietSince?: number
  /** Since when it is dead, whatever keeps it in. */
  readonly deadSince?: number
  /** Nothing is imported from it since then. */
  readonly goneSince?: number
}

export type GatewayState = {
  readonly cluster: ClusterName
  readonly address: string
  /** In a row. */
  readonly fails: number
  readonly goods: number
  /** Of the failures in a row: those during which this relay was not cut off. */
  readonly witnessed: number
  readonly down: boolean
  readonly last?: ProbeResult
  /** Of a service: what the last failure said. */
  readonly said?: string
  readonly goodAt?: number
  readonly failingSince?: number
}

/** What a relay holds of other clusters' health. Times are monotonic milliseconds. */
export type Judged = {
  readonly at: number
  readonly clusters: ReadonlyMap<ClusterName, ClusterState>
  /** By `gatewayId`. */
  readonly gateways: ReadonlyMap<string, GatewayState>
  /** Nobody answers this relay: it is the one that is cut off, and moves nothing. */
  readonly isolated: boolean
  /** Dead, and kept in because too many are out already. */
  readonly capped: ReadonlySet<ClusterName>
  /** Dead, and kept in because the mesh is frozen. */
  readonly withheld: ReadonlySet<ClusterName>
}

/** How a service lets a cluster come back. */
export type Failback = { readonly holdSeconds: number; readonly rampSeconds: number }

export const defaultFailback: Failback = {
  holdSeconds: healthTimes.holdMs / 1000,
  rampSeconds: healthTimes.rampMs / 1000,
}

export type Facts = {
  /** What came in since the last judgement, in order. */
  readonly probes: readonly {
    readonly cluster: ClusterName
    readonly address: string
    readonly result: ProbeResult
    readonly said?: string
  }[]
  /** The other clusters that something is imported from, and the addresses of their gateways. */
  readonly imported: ReadonlyMap<ClusterName, readonly string[]>
  /** Undefined: never. */
  readonly centreHeardMsAgo: number | undefined
  /** Whether each answers. */
  readonly beacons: readonly boolean[]
  readonly frozen: boolean
  /** The centre does not hear them: no sign of death. */
  readonly lost: ReadonlySet<ClusterName>
  /** Somebody drains them: nobody counts on them, so they are not judged. */
  readonly drained: ReadonlySet<ClusterName>
  /** The different ways in which services let a cluster come back; the default one where absent. */
  readonly failbacks?: ReadonlyMap<ClusterName, readonly Failback[]>
  /** How often each is asked; `healthTimes.everyMs` where absent. */
  readonly everyMs?: number
  /** Clusters beside the judged ones that are out for another reason: they take of the room for those that may go out. */
  readonly away?: number
}

/** A verdict that moves callers, or would. */
export type Move = {
  readonly kind: 'shift' | 'return' | 'ramp-done' | 'frozen-shift'
  readonly cluster: ClusterName
  readonly evidence?: ProbeEvidence
}

export const nothingJudged = (now: number): Judged => ({
  at: now,
  clusters: new Map(),
  gateways: new Map(),
  isolated: false,
  capped: new Set(),
  withheld: new Set(),
})

/** `address`: an `addressKey`. */
export const gatewayId = (cluster: ClusterName, address: string): string => `${cluster} ${address}`

/** How many clusters one relay takes out at once. */
export const evacuatedMax = (clusters: number): number => Math.max(1, Math.floor(clusters / 3))

/**
 * What a relay concludes about other clusters from its own probes of their gateways, and what is to move.
 *
 * - A gateway is down after 3 failures in a row that somebody else's answer bears witness to, up after 5 good probes. A
 *   relay that nobody answers is the one that is cut off: its failures say nothing about others.
 * - A cluster is out when two thirds of its gateways are down, at most `evacuatedMax` at a time in the order in which
 *   they died; what died beyond that stays in, and Envoy's own ejection carries it.
 * - Back: up, then held for `holdSeconds` (twice as long for each time that it went out again within ten minutes of its
 *   return, half an hour at most), then in steps of ten percent over `rampSeconds`.
 * - Frozen or cut off: counts go on, phases stand, and so does the clock of hold and ramp. That clock stands too while the
 *   cluster's gateways fail, or were not asked of late.
 * - That the centre does not hear a cluster, and that nobody hears the centre, moves nothing.
 *
 * Never throws. `now` is monotonic and no earlier than `before.at`.
 */
export function judge(
  before: Judged,
  facts: Facts,
  now: number,
): { readonly judged: Judged; readonly moves: readonly Move[] } {
  const judgedNames = [...facts.imported.keys()].filter(
    (name) => !facts.drained.has(name) && (facts.imported.get(name)?.length ?? 0) > 0,
  )
  const { away = 0, everyMs = healthTimes.everyMs } = facts
  const round = { alone: judgedNames.length < 2, now, everyMs }
  const gateways = gatewaysAfter(before, facts, round)
  const isolated = isIsolated(gateways, facts, round)
  const paused = facts.frozen || isolated
  const states = new Map<ClusterName, ClusterState>()
  const moves: Move[] = []
  for (const [name, addresses] of facts.imported) {
    const state = before.clusters.get(name) ?? { phase: 'in', since: now, flaps: 0 }
    const seen = seenOf(name, addresses, gateways, now)
    const waits = paused || isDoubtful(name, addresses, gateways, round)
    const next = returning(pausedFor(state, waits ? now - before.at : 0), { name, seen, facts, now, paused, waits })
    states.set(name, next.state)
    moves.push(...next.moves)
  }
  for (const [name, state] of before.clusters) {
    if (facts.imported.has(name) || state.phase === 'in') continue
    const goneSince = state.goneSince ?? now
    if (now - goneSince <= healthTimes.holdMsMax) states.set(name, { ...pausedFor(state, now - before.at), goneSince })
  }
  const dead = judgedNames
    .flatMap((cluster) => {
      const state = states.get(cluster)
      if (state?.deadSince === undefined || !mayGoOut(state)) return []
      const { failing } = seenOf(cluster, facts.imported.get(cluster) ?? [], gateways, now)
      return failing ? [{ cluster, state, deadSince: state.deadSince }] : []
    })
    .toSorted((a, b) => a.deadSince - b.deadSince || (a.cluster < b.cluster ? -1 : 1))
  const capped = new Set<ClusterName>()
  const withheld = new Set<ClusterName>()
  const outNow = judgedNames.filter((name) => isEvacuated(states.get(name))).length
  let room = evacuatedMax(judgedNames.length + away) - outNow - away
  for (const { cluster, state } of dead) {
    const evidence = seenOf(cluster, facts.imported.get(cluster) ?? [], gateways, now).evidence
    const of = evidence ? { evidence } : {}
    if (facts.frozen) {
      withheld.add(cluster)
      if (!before.withheld.has(cluster)) moves.push({ kind: 'frozen-shift', cluster, ...of })
    } else if (isolated) continue
    else if (room <= 0) capped.add(cluster)
    else {
      room -= 1
      states.set(cluster, outOf(state, evidence, now))
      moves.push({ kind: 'shift', cluster, ...of })
    }
  }
  return { judged: { at: now, clusters: states, gateways, isolated, capped, withheld }, moves }
}

/**
 * Which part of its share a cluster has, in percent: 0 while out or held, then 10, 20, … 100: ten pushes for a return,
 * not three hundred. Never falls while the state stays, and nothing is had before the return is said: who was held for no
 * time and fails again would fall without a word.
 */
export const percentOf = (state: ClusterState, failback: Failback, now: number): number =>
  state.phase === 'holding' ? 0 : rampedTo(state, failback, now)

/** The same by the clock alone. */
function rampedTo(state: ClusterState, { holdSeconds, rampSeconds }: Failback, now: number): number {
  if (state.phase === 'in') return 100
  if (state.goodSince === undefined) return 0
  const rampedMs = now - state.goodSince - holdMsOf(state, holdSeconds)
  if (rampedMs < 0) return 0
  const part = rampedMs / (rampSeconds * 1000)
  return part >= 1 || rampSeconds <= 0 ? 100 : 10 * (1 + Math.floor(part * 9))
}

/** In how many milliseconds a cluster has its whole share again if all stays well; undefined while it is dead. */
export function backInMs(state: ClusterState, { holdSeconds, rampSeconds }: Failback, now: number): number | undefined {
  if (state.phase === 'in') return 0
  if (state.goodSince === undefined) return undefined
  return Math.max(0, state.goodSince + holdMsOf(state, holdSeconds) + rampSeconds * 1000 - now)
}

/**
 * The clusters that the centre does not hear and whose policies may therefore be followed: none while this relay is cut
 * off or frozen, and none at all where they are more than may be out at once, because then it is the centre that is.
 */
export function lostActing(judged: Judged, facts: Facts): ReadonlySet<ClusterName> {
  const names = [...facts.imported.keys()].filter((name) => !facts.drained.has(name))
  const lost = names.filter((name) => facts.lost.has(name))
  const heard = facts.centreHeardMsAgo !== undefined && facts.centreHeardMsAgo <= healthTimes.centreMs
  if (judged.isolated || facts.frozen || !heard) return new Set()
  const away = new Set([...lost, ...names.filter((name) => isEvacuated(judged.clusters.get(name)))])
  return away.size > evacuatedMax(names.length) ? new Set() : new Set(lost)
}

const isEvacuated = (state: ClusterState | undefined): boolean => state?.phase === 'out' || state?.phase === 'holding'
const mayGoOut = ({ phase }: ClusterState): boolean => phase === 'in' || phase === 'returned'
const isGood = (result: ProbeResult): boolean => result === 'ok' || result === 'trust'
const isBad = (result: ProbeResult): boolean => !isGood(result) && result !== 'unsure'

const holdMsOf = ({ flaps }: ClusterState, holdSeconds: number): number =>
  Math.min(holdSeconds * 1000 * 2 ** flaps, Math.max(healthTimes.holdMsMax, holdSeconds * 1000))

type Seen = { readonly dead: boolean; readonly failing: boolean; readonly evidence?: ProbeEvidence }

/** Dead: two thirds of the gateways are down, rounded up; failing: so many did not answer the last three times. */
function seenOf(
  cluster: ClusterName,
  addresses: readonly string[],
  gateways: ReadonlyMap<string, GatewayState>,
  now: number,
): Seen {
  const down = addresses.flatMap((address) => {
    const state = gateways.get(gatewayId(cluster, address))
    return state?.down === true ? [state] : []
  })
  const isMost = (count: number): boolean => count > 0 && count * 3 >= addresses.length * 2
  if (!isMost(down.length)) return { dead: false, failing: false }
  const failing = isMost(down.filter(({ fails }) => fails >= healthTimes.failures).length)
  const since = Math.min(...down.map(({ failingSince = now }) => failingSince))
  const bad = down.find((one) => one.last !== undefined && !isGood(one.last))
  const said = bad?.said === undefined ? {} : { said: bad.said, inRow: bad.fails }
  const forMs = Math.round(now - since)
  return {
    dead: true,
    failing,
    evidence: { failed: down.length, of: addresses.length, last: bad?.last ?? 'timeout', forMs, ...said },
  }
}

/** Two thirds failed the last time, or were not asked of late: no step towards it. */
function isDoubtful(
  cluster: ClusterName,
  addresses: readonly string[],
  gateways: ReadonlyMap<string, GatewayState>,
  round: Round,
): boolean {
  const well = addresses.filter((address) => {
    const state = gateways.get(gatewayId(cluster, address))
    return state !== undefined && answers(state, round) && !state.down
  })
  return (addresses.length - well.length) * 3 >= addresses.length * 2
}

/** Time in which nothing is to move does not count for hold and ramp. */
const pausedFor = (state: ClusterState, ms: number): ClusterState =>
  state.goodSince === undefined || ms === 0 ? state : { ...state, goodSince: state.goodSince + ms }

/** All that a cluster's state does of itself, but for going out: that depends on the others. */
function returning(
  state: ClusterState,
  about: {
    readonly name: ClusterName
    readonly seen: Seen
    readonly facts: Facts
    readonly now: number
    readonly paused: boolean
    readonly waits: boolean
  },
): { readonly state: ClusterState; readonly moves: readonly Move[] } {
  const { name, seen, facts, now, paused, waits } = about
  const { goneSince: _gone, deadSince, ...kept } = state
  const held = { ...kept, ...(seen.dead ? { deadSince: deadSince ?? now } : {}) }
  const of = state.evidence ? { evidence: state.evidence } : {}
  if ((facts.imported.get(name)?.length ?? 0) === 0 || paused) return { state: held, moves: [] }
  if (seen.dead && state.phase === 'holding') {
    const { goodSince: _good, ...out } = held
    return { state: { ...out, phase: 'out', since: now }, moves: [] }
  }
  if (seen.dead || waits) return { state: held, moves: [] }
  if (state.phase === 'out') return { state: { ...held, phase: 'holding', since: now, goodSince: now }, moves: [] }
  const percents = (facts.failbacks?.get(name) ?? [defaultFailback]).map((one) => rampedTo(state, one, now))
  if (state.phase === 'returned' && percents.every((percent) => percent === 100)) {
    const { evidence: _past, goodSince: _good, ...back } = held
    return {
      state: { ...back, phase: 'in', since: now },
      moves: [{ kind: 'ramp-done', cluster: name, ...of }],
    }
  }
  if (state.phase === 'holding' && percents.some((percent) => percent > 0)) {
    const returned = { ...held, phase: 'returned', since: now, returnedAt: now, quietSince: now } as const
    return { state: returned, moves: [{ kind: 'return', cluster: name, ...of }] }
  }
  return { state: quieter(held, now), moves: [] }
}

function quieter(state: ClusterState, now: number): ClusterState {
  const { flaps, quietSince } = state
  if (flaps === 0 || state.phase !== 'in' || quietSince === undefined) return state
  const steps = Math.min(flaps, Math.floor((now - quietSince) / healthTimes.quietMs))
  return steps <= 0 ? state : { ...state, flaps: flaps - steps, quietSince: quietSince + steps * healthTimes.quietMs }
}

const flapsMax = 12

function outOf(state: ClusterState, evidence: ProbeEvidence | undefined, now: number): ClusterState {
  const { goodSince: _good, returnedAt, ...kept } = state
  const isFlap = returnedAt !== undefined && now - returnedAt <= healthTimes.flapMs
  const flaps = Math.min(flapsMax, state.flaps + (isFlap ? 1 : 0))
  return { ...kept, phase: 'out', since: now, flaps, ...(evidence ? { evidence } : {}) }
}

type Round = { readonly alone: boolean; readonly now: number; readonly everyMs: number }

/** The counts after what came in. Good answers first: within one look nobody knows which came before which. */
function gatewaysAfter(before: Judged, facts: Facts, round: Round): ReadonlyMap<string, GatewayState> {
  const gateways = new Map<string, GatewayState>()
  for (const [cluster, addresses] of facts.imported) {
    // What is not known of a cluster that is out has to prove itself, after a restart too.
    const isOut = before.clusters.get(cluster)?.phase === 'out'
    for (const address of addresses) {
      const id = gatewayId(cluster, address)
      gateways.set(id, before.gateways.get(id) ?? { cluster, address, ...(isOut ? downUnknown : upUnknown) })
    }
  }
  const { now } = round
  const [good, bad] = [facts.probes.filter((p) => isGood(p.result)), facts.probes.filter((p) => isBad(p.result))]
  for (const { cluster, address, result } of good) {
    const id = gatewayId(cluster, address)
    const state = gateways.get(id)
    if (!state) continue
    const goods = state.goods + 1
    const down = state.down && goods < healthTimes.goods
    gateways.set(id, { cluster, address, fails: 0, goods, witnessed: 0, down, last: result, goodAt: now })
  }
  // Of what says nothing nothing follows, and no row goes on over it.
  for (const { cluster, address, result } of facts.probes.filter((p) => p.result === 'unsure')) {
    const id = gatewayId(cluster, address)
    const state = gateways.get(id)
    if (!state) continue
    gateways.set(id, { cluster, address, fails: 0, goods: 0, witnessed: 0, down: state.down, last: result })
  }
  for (const { cluster, address, result, said } of bad) {
    const id = gatewayId(cluster, address)
    const state = gateways.get(id)
    if (!state) continue
    const witnessed = state.witnessed + (hasWitness(gateways, { ...round, facts, id }) ? 1 : 0)
    const down = state.down || witnessed >= healthTimes.failures
    const failingSince = state.failingSince ?? now
    const fails = state.fails + 1
    const told = said === undefined ? {} : { said }
    gateways.set(id, { cluster, address, fails, goods: 0, witnessed, down, last: result, failingSince, ...told })
  }
  return gateways
}

const upUnknown = { fails: 0, goods: 0, witnessed: 0, down: false }
const downUnknown = { fails: 0, goods: 0, witnessed: healthTimes.failures, down: true }

/** Somebody else answered lately. With one other cluster alone the centre and the beacons are asked too. */
function hasWitness(
  gateways: ReadonlyMap<string, GatewayState>,
  { id, facts, ...round }: Round & { readonly id: string; readonly facts: Facts },
): boolean {
  if (round.alone && someoneElseAnswers(facts)) return true
  for (const [other, state] of gateways) if (other !== id && answers(state, round)) return true
  return false
}

const answers = ({ fails, goodAt }: GatewayState, { now, everyMs }: Pick<Round, 'now' | 'everyMs'>): boolean =>
  fails === 0 && goodAt !== undefined && now - goodAt <= 2 * everyMs

const someoneElseAnswers = ({ centreHeardMsAgo, beacons }: Facts): boolean =>
  (centreHeardMsAgo !== undefined && centreHeardMsAgo <= healthTimes.centreMs) || beacons.includes(true)

/** Every gateway was asked, and none answers. */
function isIsolated(gateways: ReadonlyMap<string, GatewayState>, facts: Facts, round: Round): boolean {
  if (gateways.size === 0 || (round.alone && someoneElseAnswers(facts))) return false
  for (const state of gateways.values())
    if (state.last === undefined || state.last === 'unsure' || answers(state, round)) return false
  return true
}
