import { type Change, causeOf, changesIn, type Deed, type Shift, sharesOf } from './shifts.ts'
import type { Visit } from './shopper.ts'

/** A visit and its number since the start: 1, 2, … in the order in which they ended. */
export type Seen = Visit & { readonly n: number }

/** What the built-in shoppers saw: the last minute one by one, all since the start as numbers, and the shifts. */
export type Traffic = {
  saw(visit: Visit): void
  did(cluster: string, words: string): void
  /** Looks for shifts; called some times a second. Gives those that are new. */
  look(): readonly Shift[]
  visits(): readonly Seen[]
  shifts(): readonly Shift[]
  counted(): { readonly requests: number; readonly failed: number; readonly crossCluster: number }
  /** Over the last five seconds. */
  summary(): Summary
}

export type Summary = {
  readonly perSecond: number
  readonly failed: number
  /** Milliseconds; absent without a visit. */
  readonly p99?: number
  /** Cluster and its share in per cent of the answers of reviews, the largest first. */
  readonly reviews: readonly (readonly [cluster: string, percent: number])[]
}

const keptMs = 60_000
const summaryMs = 5000
const shiftsMax = 50
const deedsMax = 50
/** How long page views count towards a shift after it was seen. */
const settledMs = 4000
const unseenMs = 1500
/** The front door finds the clusters one after the other: what nobody did, so soon after the first visit, is the start. */
const startMs = 8000

export function openTraffic(now: () => number = Date.now): Traffic {
  let visits: Seen[] = []
  let shifts: (Shift & { readonly sinceMs: number })[] = []
  let deeds: Deed[] = []
  let known: { readonly change: string; readonly atMs: number }[] = []
  let nextId = 1
  const counted = { requests: 0, failed: 0, crossCluster: 0 }
  const began = now()
  let firstAt: number | undefined

  return {
    saw: (visit) => {
      counted.requests++
      firstAt ??= now()
      visits.push({ ...visit, n: counted.requests })
      if (!visit.ok) counted.failed++
      if (new Set(visit.clusters).size > 1) counted.crossCluster++
    },
    did: (cluster, words) => {
      deeds = [...deeds, { atMs: now(), cluster, words }].slice(-deedsMax)
    },
    look: () => {
      const at = now()
      // One of the future was seen before the clock was set back.
      visits = visits.filter((one) => one.at > at - keptMs && one.at <= at)
      shifts = shifts.map((one) => (at < one.atMs + settledMs + unseenMs ? { ...one, ...costOf(one) } : one))
      known = known.filter(({ atMs }) => atMs > at - settledMs - unseenMs)
      const isStart = ({ cause }: Shift) => cause === undefined && at < (firstAt ?? at) + startMs
      const fresh = changesIn(visits, at)
        .filter(isNews)
        .map(shiftOf)
        .filter((one) => !isStart(one))
      shifts = [...shifts, ...fresh].slice(-shiftsMax)
      return fresh
    },
    visits: () => visits,
    shifts: () => shifts,
    counted: () => ({ ...counted }),
    summary: () => {
      const since = Math.max(now() - summaryMs, began)
      const last = visits.filter(({ at }) => at > since)
      const ms = last.map((one) => one.ms).sort((a, b) => a - b)
      const p99 = ms[Math.max(0, Math.ceil(ms.length * 0.99) - 1)]
      const { by } = sharesOf(last, 'reviews')
      return {
        perSecond: Math.round(last.length / Math.max(1, (now() - since) / 1000)),
        failed: counted.failed,
        ...(p99 === undefined ? {} : { p99 }),
        reviews: [...by].sort((a, b) => b[1] - a[1]).map(([cluster, share]) => [cluster, Math.round(share * 100)]),
      }
    },
  }

  /** A change is seen as long as its windows reach over it: told once. */
  function isNews(change: Change): boolean {
    const text = `${change.service} ${change.about}`
    if (known.some((one) => one.change === text)) return false
    known.push({ change: text, atMs: now() })
    return true
  }

  function shiftOf(change: Change) {
    const cause = causeOf(change, deeds, now())
    const { service, from, to } = change
    const when = { atMs: now(), sinceMs: cause?.atMs ?? now() - unseenMs }
    return { id: nextId++, ...when, service, from, to, ...costOf(when), ...(cause ? { cause: cause.words } : {}) }
  }

  function costOf({ atMs, sinceMs }: { readonly atMs: number; readonly sinceMs: number }) {
    const within = visits.filter(({ at }) => at >= sinceMs && at < atMs + settledMs)
    return { failed: within.filter(({ ok }) => !ok).length, of: within.length }
  }
}
