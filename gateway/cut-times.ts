import type { TrustBundle } from '#mesh/model/trust-bundle.ts'
import { type TrustReport, trustReportLimits } from '#mesh/wire/trust-report.ts'

/** How long a revocation took to act in this cluster: the newest ones. */
export type CutTimes = {
  /** A bundle came into force at `now`. */
  took(bundle: TrustBundle, now: number): void
  /** Whether some revocation is not known yet to act. */
  waits(): boolean
  /** Every connected proxy refuses new handshakes and requests by it since `now` at the latest, and drains old ones. */
  acts(now: number): void
  list(now: number): TrustReport['cuts']
}

/** `isthmus proxy` starts Envoy so that what a replaced filter chain holds is closed after this time. */
const drainMs = 20_000

type Cut = { readonly cut: number; readonly receivedAt: number; actsAt?: number }

/** `first`: the bundle that was in force before this process: its revocations acted then, and are not timed again. */
export function cutTimes(first: TrustBundle | undefined): CutTimes {
  const known = new Set(cutsIn(first))
  let cuts: Cut[] = []
  return {
    took: (bundle, now) => {
      const news = cutsIn(bundle).filter((cut) => !known.has(cut))
      for (const cut of news) known.add(cut)
      const all = [...cuts, ...news.map((cut) => ({ cut, receivedAt: now }))]
      cuts = all.toSorted((a, b) => b.cut - a.cut).slice(0, trustReportLimits.cuts)
    },
    waits: () => cuts.some(({ actsAt }) => actsAt === undefined),
    acts: (now) => {
      for (const one of cuts) one.actsAt ??= now
    },
    list: (now) =>
      cuts.flatMap(({ cut, receivedAt, actsAt }) => {
        if (actsAt === undefined) return []
        const newMs = Math.max(0, actsAt - receivedAt)
        return [{ cut, receivedAt, newMs, oldMs: now >= actsAt + drainMs ? newMs + drainMs : null }]
      }),
  }
}

const cutsIn = (bundle: TrustBundle | undefined): number[] =>
  bundle ? [...new Set([...bundle.revoked, ...bundle.denied, ...(bundle.unfederated ?? [])].map(({ cut }) => cut))] : []
