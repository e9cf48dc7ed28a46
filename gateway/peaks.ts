import { peakKey } from '#mesh/model/traffic.ts'
import type { View } from '#mesh/model/view.ts'
import { readyOf } from '#mesh/translate/shares.ts'

/** The most pods that were ready in the last ten minutes, of services with a policy, where that is more than now. */
export type Peaks = {
  /** Counts are others, or time went on. The same map as before while it is equal. */
  look(view: View): ReadonlyMap<string, number>
}

const spans = 10
const spanMs = 60_000

/** By minutes: a peak is forgotten ten to eleven minutes after it was seen. */
export function openPeaks(now: () => number = () => performance.now()): Peaks {
  const seen = new Map<string, Map<number, number>>()
  let last: { readonly from: readonly unknown[]; readonly peaks: ReadonlyMap<string, number> } | undefined
  return {
    look: (view) => {
      const at = Math.floor(now() / spanMs)
      const from = [view.config, view.summaries, view.own, at]
      if (last?.from.every((one, n) => one === from[n])) return last.peaks
      const peaks = peaksAt(view, at)
      const before = last?.peaks
      const isSame = before?.size === peaks.size && [...peaks].every(([name, peak]) => before.get(name) === peak)
      last = { from, peaks: isSame ? before : peaks }
      return last.peaks
    },
  }

  function peaksAt(view: View, at: number): ReadonlyMap<string, number> {
    const next = new Map<string, number>()
    const met = new Set<string>()
    for (const imported of view.config?.imports.values() ?? []) {
      if (!imported.policy) continue
      for (const { cluster, port, ready } of readyOf(view, imported)) {
        const name = peakKey(cluster, imported.key, port)
        const spansOf = seen.get(name) ?? new Map<number, number>()
        seen.set(name, spansOf)
        met.add(name)
        for (const span of spansOf.keys()) if (span < at - spans) spansOf.delete(span)
        if (ready === undefined) continue
        spansOf.set(at, Math.max(ready, spansOf.get(at) ?? 0))
        const peak = Math.max(...spansOf.values())
        if (peak > ready) next.set(name, peak)
      }
    }
    for (const name of seen.keys()) if (!met.has(name)) seen.delete(name)
    return next
  }
}
