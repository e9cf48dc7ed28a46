import type { Admin } from '#gateway/proxy/envoy-admin.ts'
import type { CallTimes } from '#gateway/proxy/look.ts'
import { type Buckets, countOf, latencyBoundsMs } from '#mesh/model/latency.ts'

/** How long the calls of one Envoy took, of each of its clusters, for whoever is told. */
export type CallTimesReader = {
  /**
   * What was counted since it was last told, of the clusters with most calls. Empty where it was read a moment ago, and
   * where Envoy does not answer. Never rejects.
   */
  read(): Promise<readonly CallTimes[]>
  /** What was read last is known, and not told again. */
  told(): void
}

const toldMax = 64
/** All histograms of an Envoy are gone through each time. */
const readEveryMs = 30_000
/** What could not be told for so long says nothing of now. */
const keptMs = 120_000

/** Since Envoy started, by the name of its cluster: Envoy counts over its whole life. */
type Totals = ReadonlyMap<string, Buckets>

/**
 * Reads `upstream_rq_time` of Envoy's admin: milliseconds from the last byte of the request to the last of the answer,
 * each try counted. Streams have none.
 */
export function callTimesOf(admin: Pick<Admin, 'text'>, now: () => number): CallTimesReader {
  let known: Totals = new Map()
  let knownAt = now()
  let last: Totals | undefined
  let readAt = Number.NEGATIVE_INFINITY
  return {
    read: async () => {
      last = undefined
      if (now() - readAt < readEveryMs) return []
      readAt = now()
      last = await admin.text('GET', path).then(totalsIn, () => undefined)
      if (!last) return []
      if (now() - knownAt > keptMs) taken(last)
      const news = [...last].map(([cluster, counts]) => ({ cluster, counts: since(known.get(cluster), counts) }))
      return news
        .map((one) => ({ ...one, count: countOf(one.counts) }))
        .filter(({ count }) => count > 0)
        .toSorted((a, b) => b.count - a.count)
        .slice(0, toldMax)
        .map(({ cluster, counts }) => ({ cluster, counts }))
    },
    told: () => {
      if (last) taken(last)
      last = undefined
    },
  }

  function taken(totals: Totals): void {
    known = totals
    knownAt = now()
  }
}

const filter = '^cluster\\.outbound\\|.*;\\.upstream_rq_time$'
const path = `/stats?usedonly&type=Histograms&histogram_buckets=disjoint&filter=${encodeURIComponent(filter)}`

/** An Envoy that began anew counts from nothing. */
function since(before: Buckets | undefined, counts: Buckets): Buckets {
  if (!before || counts.some((count, n) => count < (before[n] ?? 0))) return counts
  return counts.map((count, n) => count - (before[n] ?? 0))
}

/** Lines `cluster.<name>;.upstream_rq_time: B1(0,4) B2(0,0) …`: of each bucket the interval's count, and that of all. */
function totalsIn(body: string): Totals {
  const totals = new Map<string, Buckets>()
  for (const line of body.split('\n')) {
    const [, cluster, text] = /^cluster\.(\S+);\.upstream_rq_time: (B.*)$/.exec(line) ?? []
    const found = [...(text ?? '').matchAll(/B([\d.e+]+)\(\d+,(\d+)\)/g)]
    const bounds = found.map(([, bound]) => Number(bound))
    const isOurs = bounds.length === latencyBoundsMs.length && bounds.every((ms, n) => ms === latencyBoundsMs[n])
    if (cluster !== undefined && isOurs)
      totals.set(
        cluster,
        found.map(([, , count]) => Number(count)),
      )
  }
  return totals
}
