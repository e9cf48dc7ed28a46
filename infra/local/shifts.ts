import type { Visit } from './shopper.ts'

/** Calls of a service that went to other clusters than a moment before, and what it cost the shoppers. */
export type Shift = {
  readonly id: number
  readonly atMs: number
  readonly service: string
  /** Clusters that answered before, and do less or not at all now; those that do instead. */
  readonly from: readonly string[]
  readonly to: readonly string[]
  /** Page views that failed, of all, from the deed (or a second before it was seen) until some seconds after. */
  readonly failed: number
  readonly of: number
  /** What was done to one of the clusters just before; absent where nobody here did anything. */
  readonly cause?: string
}

/** Something that was done to a cluster or a part of it (or `everywhere`: it may move any calls), in words for people. */
export type Deed = { readonly atMs: number; readonly cluster: string; readonly words: string }

export const everywhere = '*'

/** A window of the recent past against one before it: who answered a service, and who does now. */
const nowMs = 1200
const gapMs = 300
const beforeMs = 3000
/** Fewer answers than this tell nothing. */
const answersMin = 10
/** A cluster counts as answering from this share on. */
const shareMin = 0.04
const causeMs = 20_000

export type Change = {
  readonly service: string
  readonly from: readonly string[]
  readonly to: readonly string[]
  /** Which clusters left (`-a,b`) or came (`+a`): the same in every look at the same change. */
  readonly about: string
}

/**
 * Which services are answered by other clusters now than a moment ago. A cluster that stopped answering, or began, makes
 * a change; shares that only move do not. `visits` are in the order of time.
 */
export function changesIn(visits: readonly Visit[], now: number): readonly Change[] {
  const late = visits.filter(({ at }) => at > now - nowMs)
  const early = visits.filter(({ at }) => at <= now - nowMs - gapMs && at > now - nowMs - gapMs - beforeMs)
  const services = [...new Set(early.flatMap(({ clusterByService }) => Object.keys(clusterByService)))].sort()
  return services.flatMap((service) => changeOf(service, sharesOf(early, service), sharesOf(late, service)))
}

type Shares = { readonly of: number; readonly by: ReadonlyMap<string, number> }

/** Share of each cluster in the answers of a service. */
export function sharesOf(visits: readonly Visit[], service: string): Shares {
  const counts = new Map<string, number>()
  for (const { clusterByService } of visits) {
    const cluster = clusterByService[service]
    if (cluster !== undefined) counts.set(cluster, (counts.get(cluster) ?? 0) + 1)
  }
  const of = [...counts.values()].reduce((sum, one) => sum + one, 0)
  return { of, by: new Map([...counts].map(([cluster, count]) => [cluster, count / of])) }
}

function changeOf(service: string, before: Shares, after: Shares): readonly Change[] {
  if (before.of < answersMin || after.of < answersMin) return []
  const names = [...new Set([...before.by.keys(), ...after.by.keys()])].sort()
  const moved = (name: string) => (after.by.get(name) ?? 0) - (before.by.get(name) ?? 0)
  const left = names.filter((name) => (before.by.get(name) ?? 0) >= shareMin && !after.by.has(name))
  const came = names.filter((name) => (after.by.get(name) ?? 0) >= shareMin && !before.by.has(name))
  if (left.length === 0 && came.length === 0) return []
  // Who lost to those that came, and who takes over from those that left.
  const from = left.length > 0 ? left : names.filter((name) => moved(name) < 0)
  const to = came.length > 0 ? came : names.filter((name) => moved(name) > 0 && !left.includes(name))
  const about = left.length > 0 ? `-${left.join()}` : `+${came.join()}`
  return from.length > 0 && to.length > 0 ? [{ service, from, to, about }] : []
}

/** The last deed that can have moved calls between these clusters: of one of them, or everywhere (`centre` is none). */
export function causeOf({ from, to }: Change, deeds: readonly Deed[], now: number): Deed | undefined {
  return deeds.findLast(({ atMs, cluster }) => atMs > now - causeMs && [everywhere, ...from, ...to].includes(cluster))
}
