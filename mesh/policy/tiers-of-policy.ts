import type { Tier, TierMember } from '#mesh/model/cluster-config.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import type {
  PolicyTier,
  Preference,
  SamenessGroup,
  TierTarget,
  TrafficPolicySpec,
} from '#mesh/model/traffic-policy.ts'
import { defaultTiers, type Place } from '#mesh/policy/default-tiers.ts'
import { settledGroups } from '#mesh/policy/settle-sources.ts'

/** Tiers as they are compiled, and for each the tier of the policy (0-based) that it is a part of. */
export type PolicyTiers = { readonly tiers: readonly Tier[]; readonly tierOf: readonly number[] }

/** The clusters of each group by its name. */
export type Groups = ReadonlyMap<string, ReadonlySet<ClusterName>>

export const groupsOf = (groups: readonly SamenessGroup[] = []): Groups =>
  new Map(settledGroups(groups).items.map(({ name, clusters }) => [name, new Set(clusters)]))

/**
 * The tiers of a policy for callers at `home`: each of `sources` that the policy names is in exactly one of them, in the
 * order as written. A cluster that is named itself stands where its name is; else where its group is; else where its
 * region is; of equals the first. So a cluster that joins a region or a group later is in a tier without an edit.
 *
 * A target's weight is divided equally among its clusters. `prefer` splits a tier: the callers' own cluster first, for
 * `region` then the others of its region, then the rest; an empty part is left out, so tier n is Envoy priority n.
 * Undefined where the policy names none of the sources: then nothing of it can be done.
 */
export function policyTiers(
  home: Place,
  sources: readonly Place[],
  spec: Pick<TrafficPolicySpec, 'tiers' | 'unlisted'>,
  groups: Groups,
): PolicyTiers | undefined {
  if (sources.length === 0) return undefined
  if (!spec.tiers) return ordered(defaultTiers(home, sources).map((tier, at) => ({ tier, at })))
  const { tiers } = spec
  const seats = sources.map((place) => ({ place, seat: seatOf(place, tiers, groups) }))
  const listed = tiers.flatMap((tier, at) => {
    const here = seats.flatMap(({ place, seat }) => (seat?.tier === at ? [{ place, target: seat.target }] : []))
    return split(
      home,
      here.map(({ place }) => place),
      preferenceOf(tier),
    )
      .map((part) =>
        membersOf(
          here.filter(({ place }) => part.includes(place)),
          here,
        ),
      )
      .map((members) => ({ tier: { members }, at }))
  })
  const rest = seats.filter(({ seat }) => !seat).map(({ place }) => place)
  const last = spec.unlisted === 'last' ? defaultTiers(home, rest).map((tier) => ({ tier, at: tiers.length })) : []
  const all = [...listed, ...last]
  return all.length === 0 ? undefined : ordered(all)
}

const ordered = (all: readonly { readonly tier: Tier; readonly at: number }[]): PolicyTiers => ({
  tiers: all.map(({ tier }) => tier),
  tierOf: all.map(({ at }) => at),
})

/** Where a policy seats a cluster. */
export type Seat = { readonly tier: number; readonly target: TierTarget }

type Seats = {
  readonly groups: Groups
  readonly clusters: ReadonlyMap<string, Seat>
  readonly inGroups: readonly (readonly [ReadonlySet<ClusterName> | undefined, Seat])[]
  readonly regions: ReadonlyMap<string, Seat>
}

/** A policy may name a thousand targets, and is asked for each exporter of each service. */
const known = new WeakMap<readonly PolicyTier[], Seats>()

/** The seat of a cluster in the tiers of a policy; undefined where none names it. */
export function seatOf(place: Place, tiers: readonly PolicyTier[], groups: Groups): Seat | undefined {
  const old = known.get(tiers)
  const { clusters, inGroups, regions } = old?.groups === groups ? old : seatsIn(tiers, groups)
  return (
    clusters.get(place.cluster) ??
    inGroups.find(([members]) => members?.has(place.cluster))?.[1] ??
    regions.get(place.region)
  )
}

function seatsIn(tiers: readonly PolicyTier[], groups: Groups): Seats {
  const clusters = new Map<string, Seat>()
  const inGroups: (readonly [ReadonlySet<ClusterName> | undefined, Seat])[] = []
  const regions = new Map<string, Seat>()
  for (const [tier, { targets }] of tiers.entries())
    for (const target of targets) {
      const seat = { tier, target }
      if ('cluster' in target) clusters.set(target.cluster, clusters.get(target.cluster) ?? seat)
      else if ('group' in target) inGroups.push([groups.get(target.group), seat])
      else regions.set(target.region, regions.get(target.region) ?? seat)
    }
  const seats = { groups, clusters, inGroups, regions }
  known.set(tiers, seats)
  return seats
}

/** Weights that are written are exact, so nobody goes before them unless that is written too. */
export const preferenceOf = ({ prefer, targets }: PolicyTier): Preference =>
  prefer ?? (targets.some(({ weight }) => weight !== undefined) ? 'none' : 'own')

function split(home: Place, places: readonly Place[], prefer: Preference): readonly (readonly Place[])[] {
  const isOwn = ({ cluster }: Place): boolean => cluster === home.cluster
  const isNear = ({ region }: Place): boolean => prefer === 'region' && home.region !== '' && region === home.region
  const first = (place: Place): number => (prefer === 'none' ? 0 : isOwn(place) ? 0 : isNear(place) ? 1 : 2)
  return [0, 1, 2].map((rank) => places.filter((place) => first(place) === rank)).filter((part) => part.length > 0)
}

type Seated = { readonly place: Place; readonly target: TierTarget }

function membersOf(part: readonly Seated[], whole: readonly Seated[]): TierMember[] {
  const share = (target: TierTarget): number => whole.filter((one) => one.target === target).length
  const weights = wholeWeights(part.map(({ target }) => ({ weight: target.weight ?? 1, among: share(target) })))
  return part
    .map(({ place, target }, at): TierMember => {
      const member = { cluster: place.cluster, weight: weights[at] ?? 1 }
      return target.capacity ? { ...member, capacity: target.capacity } : member
    })
    .toSorted((a, b) => (a.cluster < b.cluster ? -1 : 1))
}

const weightMax = 1000
/** Beyond it weights are rounded in any case. */
const commonMax = 1_000_000

/** Whole weights 1..1000 in the proportion of weight / among: as written where that is whole already. */
function wholeWeights(parts: readonly { readonly weight: number; readonly among: number }[]): number[] {
  const common = parts.reduce((all, { weight, among }) => Math.min(commonMax, lcm(all, among / gcd(weight, among))), 1)
  const exact = parts.map(({ weight, among }) => (weight * common) / among)
  const most = Math.max(...exact)
  if (most <= weightMax && exact.every(Number.isInteger)) return exact
  return exact.map((one) => Math.max(1, Math.round((one * weightMax) / most)))
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
const lcm = (a: number, b: number): number => (a / gcd(a, b)) * b
