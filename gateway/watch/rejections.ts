import type { RejectedObject } from '#mesh/model/view.ts'

export type RejectionLog = { info(facts: object, text: string): void; warn(facts: object, text: string): void }

const rejectedMax = 1000
const loggedMax = 20

/** Sorted by place, bounded: the last says how many more there are. */
export function boundedRejections(all: readonly RejectedObject[], source: string): readonly RejectedObject[] {
  const lineOf = (r: RejectedObject): number => Number(/:(\d+)$/.exec(r.at)?.[1] ?? 0)
  const fileOf = (r: RejectedObject): string => r.at.replace(/:\d+$/, '')
  const sorted = all.toSorted(
    (a, b) => compare(fileOf(a), fileOf(b)) || lineOf(a) - lineOf(b) || compare(a.object, b.object),
  )
  if (sorted.length <= rejectedMax) return sorted
  const kept = sorted.slice(0, rejectedMax - 1)
  return [...kept, { at: '.', object: source, reason: `${sorted.length - kept.length} more are not shown` }]
}

/** Says what is new, and when all is well again. */
export function logRejections(
  log: RejectionLog | undefined,
  {
    before,
    next,
    source,
  }: { readonly before: readonly RejectedObject[]; readonly next: readonly RejectedObject[]; readonly source: string },
): void {
  const known = new Set(before.map((r) => `${r.at} ${r.reason}`))
  const news = next.filter((r) => !known.has(`${r.at} ${r.reason}`))
  for (const r of news.slice(0, loggedMax)) log?.warn(r, `an object of the ${source} is set aside`)
  if (news.length > loggedMax) log?.warn({ count: news.length - loggedMax }, 'more objects are set aside: see status')
  if (before.length > 0 && next.length === 0) log?.info({}, `every object of the ${source} can be used`)
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
