import type { ClusterName } from '#mesh/model/id.ts'

/** What one cluster could take of a service's calls, as one caller cluster knows it. */
export type Candidate = {
  readonly cluster: ClusterName
  /** Above 0; within its tier. */
  readonly weight: number
  /** Pods that should be serving: ready ones, and those whose absence is a loss (`candidateOf`). */
  readonly pods: number
  /** Undefined = not heard yet, which is not the same as none. */
  readonly ready: number | undefined
  /** Of its nominal share, 0..100. */
  readonly percent: number
  /** At most this part of all calls, 0..1. */
  readonly cap?: number
  readonly dead?: true
}

export type Placed = {
  readonly cluster: ClusterName
  /** Of all calls; 0 below the first priority. */
  readonly share: number
  /** In proportion to its mates of the same priority, above 0. */
  readonly weight: number
  /** Takes nothing as long as anything else is left: its hosts are to be known as unhealthy. */
  readonly last?: true
}

export type Spread = {
  /** None empty; no cluster twice. */
  readonly priorities: readonly (readonly Placed[])[]
  /** True where the tiers stand as they were given, at their nominal weights. */
  readonly sameAsTiers: boolean
}

/** What is counted of one cluster's pods for one port. `peak`: the most that were ready of late; absent = nobody knows. */
export type Counted = { readonly ready: number | undefined; readonly total: number; readonly peak?: number }

/** How much of a cluster is admitted. */
export type Admission = Pick<Candidate, 'percent' | 'cap' | 'dead'>

/**
 * A tier's member as `spread` reads it.
 *
 * With `spillByReadiness` (a policy) its pods are the ready ones and those that were ready of late and still are meant to
 * be: pods that start belong to a scale-up, pods that are gone for good to a scale-down, and neither is a loss that should
 * send callers away. Without, what is ready is all there is, and the part of its pods that is ready scales its weight.
 */
export function candidateOf(
  member: { readonly cluster: ClusterName; readonly weight: number },
  { ready, total, peak }: Counted,
  facts: Admission & { readonly spillByReadiness: boolean },
): Candidate {
  const { spillByReadiness, percent, cap, dead } = facts
  const admission = { percent, ...(cap === undefined ? {} : { cap }), ...(dead === undefined ? {} : { dead }) }
  if (ready === undefined) return { ...member, ready, pods: 1, ...admission }
  if (spillByReadiness) {
    const lost = Math.min(total - ready, (peak ?? ready) - ready)
    return { ...member, ready, pods: ready + Math.max(0, lost), ...admission }
  }
  const strength = ready === 0 || total <= ready ? 1 : ready / total
  return { ...member, weight: member.weight * strength, ready, pods: ready, ...admission }
}

/**
 * Where the calls of one service go: the tiers as Envoy's priorities, and the share of each cluster.
 *
 * The tiers are walked with what is left of all calls. A tier takes as much of it as its health allows, H × factor: H is
 * the part of its pods that is ready and admitted, as Envoy itself counts weights. Inside, members take by weight; one
 * whose cap or percentage is less than that leaves the rest to its mates, then to the next tier. What no tier has room
 * for is nobody's to throw away: it stays with those that take calls, first where nothing but health limits them.
 *
 * As long as the first tier holds everything, priorities are tiers. Else every tier that has a share is merged into the
 * first priority, where weights make each share exact, and the other tiers follow in their order. Who takes nothing
 * (dead, drained) comes last, so that it is reached when all else is gone. Where only such are left nothing is changed:
 * a verdict about everybody says nothing about anybody.
 *
 * A cluster without a ready pod is left out while another has one. Never throws, never empty unless nobody was given.
 * Source: Envoy's priority load and overprovisioning; merged priorities were measured to keep open streams.
 */
export function spread(
  tiers: readonly (readonly Candidate[])[],
  facts: { readonly factor: number; readonly spillByReadiness: boolean },
): Spread {
  const isAnyReady = tiers.some((tier) => tier.some((c) => c.ready !== 0))
  const levels = tiers.map((tier) => tier.map((c) => memberOf(c, isAnyReady, facts.spillByReadiness)))
  const open = levels.map((level) => level.filter((m) => m.isOpen))
  if (!open.some((level) => level.some((m) => m.admitted > 0))) return nominal(open)
  const takers = taken(levels, facts.factor)
  const firstAt = takers.findIndex((level) => level.length > 0)
  const isHeld = takers.every((level, at) => at === firstAt || level.length === 0)
  const isWhole = isHeld && takers[firstAt]?.every(({ share, limit }) => share < limit - least)
  const first = takers.flat().map(
    ({ member, share }): Placed => ({
      cluster: member.candidate.cluster,
      share,
      weight: isWhole ? member.weight : share,
    }),
  )
  const isFirst = new Set(first.map((placed) => placed.cluster))
  // Of a tier that has a share, who has none of it has no room either.
  const isReached = (at: number): boolean => (takers[at]?.length ?? 0) > 0
  const isLast = (member: Member, at: number): boolean =>
    !isFirst.has(member.candidate.cluster) && (member.admitted === 0 || isReached(at))
  const lower = open.map((level, at) =>
    level
      .filter((m) => !isFirst.has(m.candidate.cluster) && !isLast(m, at))
      .map((m): Placed => ({ cluster: m.candidate.cluster, share: 0, weight: m.weight * m.admitted })),
  )
  const last = open.flatMap((level, at) =>
    level
      .filter((m) => isLast(m, at))
      .map((m): Placed => ({ cluster: m.candidate.cluster, share: 0, weight: m.weight, last: true })),
  )
  const sameAsTiers =
    isWhole === true && last.length === 0 && lower.flat().length + first.length === open.flat().length && isFull(open)
  return { priorities: [first, ...lower, last].filter((level) => level.length > 0), sameAsTiers }
}

/** What Envoy can still say by a weight; less is nothing. */
const least = 1e-9
const leastShare = 1 / 20_000

type Member = {
  readonly candidate: Candidate
  /** The weight by what is ready. */
  readonly weight: number
  readonly pods: number
  readonly ready: number
  /** 0..1 */
  readonly admitted: number
  /** False where it has nothing ready and others have. */
  readonly isOpen: boolean
}

type Taker = { readonly member: Member; readonly share: number; readonly limit: number }

function memberOf(candidate: Candidate, isAnyReady: boolean, spillByReadiness: boolean): Member {
  const admitted = candidate.dead ? 0 : Math.min(100, Math.max(0, candidate.percent)) / 100
  // Where nothing is ready at all, nothing is known that would make one better than another.
  if (!isAnyReady) return { candidate, weight: candidate.weight, pods: 1, ready: 1, admitted, isOpen: true }
  const { pods, ready = pods } = candidate
  const strength = spillByReadiness && pods > 0 ? ready / pods : 1
  return { candidate, weight: candidate.weight * strength, pods, ready, admitted, isOpen: ready > 0 }
}

const isFull = (open: readonly (readonly Member[])[]): boolean => open.flat().every((m) => m.admitted === 1)

/** Every tier as it was given, the first one holding everything. */
function nominal(open: readonly (readonly Member[])[]): Spread {
  const priorities = open
    .filter((level) => level.length > 0)
    .map((level, at) => {
      const sum = sumOf(level.map((m) => m.weight))
      return level.map(
        (m): Placed => ({ cluster: m.candidate.cluster, share: at === 0 ? m.weight / sum : 0, weight: m.weight }),
      )
    })
  return { priorities, sameAsTiers: true }
}

/** Who takes which part of all calls, by tier; together everything. */
function taken(levels: readonly (readonly Member[])[], factor: number): readonly (readonly Taker[])[] {
  let rest = 1
  const byTier = levels.map((level) => {
    const takers = takersOf(level, { rest, factor })
    rest = atLeast(rest - sumOf(takers.map((t) => t.share)))
    return takers
  })
  if (rest > 0) return withoutRest(byTier, levels, factor)
  return byTier.map((takers) => takers.filter((t) => t.share >= leastShare))
}

function takersOf(
  level: readonly Member[],
  { rest, factor }: { readonly rest: number; readonly factor: number },
): readonly Taker[] {
  const pods = sumOf(level.map((m) => m.pods))
  const health = pods === 0 ? 0 : sumOf(level.map((m) => m.ready * m.admitted)) / pods
  const weights = sumOf(level.map((m) => (m.isOpen ? m.weight : 0)))
  const takers = level
    .filter((m) => m.isOpen && m.admitted > 0)
    .map((member): Taker => ({ member, share: 0, limit: limitOf(member, (rest * member.weight) / weights) }))
  return filled(takers, Math.min(rest, (health * factor) / 100), ({ member }) => member.weight)
}

const limitOf = ({ admitted, candidate }: Member, nominalShare: number): number =>
  Math.min(candidate.cap ?? Number.POSITIVE_INFINITY, admitted < 1 ? nominalShare * admitted : Number.POSITIVE_INFINITY)

/** `more` added to what they have, by weight, nobody above his limit; what nobody has room for is left. */
function filled(takers: readonly Taker[], more: number, weightOf: (taker: Taker) => number): readonly Taker[] {
  const full = new Set<Taker>()
  for (;;) {
    const others = takers.filter((t) => !full.has(t))
    const room = more - sumOf([...full].map((t) => t.limit - t.share))
    const weights = sumOf(others.map(weightOf))
    const given = (t: Taker): number => (weights === 0 ? 0 : (room * weightOf(t)) / weights)
    const over = others.filter((t) => t.share + given(t) > t.limit)
    if (over.length === 0)
      return takers.map((t) => ({ ...t, share: full.has(t) ? Math.max(t.share, t.limit) : t.share + given(t) }))
    for (const taker of over) full.add(taker)
  }
}

/**
 * What no tier had room for goes where only health is the limit, in proportion to what each takes already: that is what
 * Envoy does when no priority is healthy enough. Where everybody has a limit, all go above theirs alike.
 */
function withoutRest(
  byTier: readonly (readonly Taker[])[],
  levels: readonly (readonly Member[])[],
  factor: number,
): readonly (readonly Taker[])[] {
  const rest = 1 - sumOf(byTier.flat().map((t) => t.share))
  const more = filled(byTier.flat(), rest, ({ share }) => share)
  const sum = sumOf(more.map((t) => t.share))
  if (sum < least)
    return taken(
      levels.map((level) => level.map(withoutCap)),
      factor,
    )
  const shares = new Map(more.map((t) => [t.member, t.share / sum]))
  return byTier.map((takers) =>
    takers.map((t) => ({ ...t, share: shares.get(t.member) ?? 0 })).filter((t) => t.share >= leastShare),
  )
}

function withoutCap(member: Member): Member {
  const { cap: _, ...candidate } = member.candidate
  return { ...member, candidate }
}

const atLeast = (share: number): number => (share < least ? 0 : share)
const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0)
