import { isDeepStrictEqual } from 'node:util'
import { cutTimes } from '#gateway/cut-times.ts'
import { paced } from '#gateway/paced.ts'
import type { Pauses } from '#gateway/pauses.ts'
import { allRefuse, type TrustSightParts, trustReport } from '#gateway/trust-sight.ts'
import { typeUrls } from '#mesh/model/resource.ts'
import type { TrustReport } from '#mesh/wire/trust-report.ts'

/** What the centre is told of trust, as it changes by itself: with every acknowledgement, every look, every stream. */
export type TrustTelling = {
  /** As last told; looked at now where nothing was told yet. */
  told(): TrustReport | undefined
  /** As it is at this moment. */
  now(): TrustReport | undefined
  /** Something that it is made of may have changed. */
  soon(): void
  /** A stream's client acknowledged resources of a type. */
  acknowledged(type: string): void
  /** Another bundle is in force. */
  taken(): void
  start(): void
}

export type TrustTellingParts = Omit<TrustSightParts, 'cuts'> & {
  readonly pauses: Pick<Pauses, 'later'>
  /** Called when there is something new to tell. */
  readonly onNews: () => void
}

/** A look at a thousand streams costs milliseconds, so each has its pace; a revocation is timed more closely. */
const times = { tellMs: 1000, lookMs: 5000, cutMs: 50 } as const
const ofCuts: ReadonlySet<string> = new Set([typeUrls.secret, typeUrls.route, typeUrls.listener])

export function openTrustTelling(parts: TrustTellingParts): TrustTelling {
  const { trust, pauses, onNews } = parts
  const cuts = cutTimes(trust.bundle())
  const sight = () => trustReport({ ...parts, cuts: () => cuts.list(parts.now()) })
  let told: TrustReport | undefined
  const tell = paced(pauses, times.tellMs, () => {
    const seen = sight()
    if (isDeepStrictEqual(told, seen)) return
    told = seen
    onNews()
  })
  const time = paced(pauses, times.cutMs, () => {
    if (!cuts.waits() || !allRefuse(parts)) return
    cuts.acts(parts.now())
    tell.soon()
  })
  /** What no event says: a stream that went, a leaf that ended. */
  const look = () => {
    tell.soon()
    if (cuts.waits()) time.soon()
    pauses.later(times.lookMs, look)
  }
  return {
    told: () => (told ??= sight()),
    now: sight,
    soon: tell.soon,
    acknowledged: (type) => {
      if (!ofCuts.has(type)) return
      if (type === typeUrls.secret) tell.soon()
      if (cuts.waits()) time.soon()
    },
    taken: () => {
      const bundle = trust.bundle()
      if (bundle) cuts.took(bundle, parts.now())
      tell.soon()
      if (cuts.waits()) time.soon()
    },
    start: look,
  }
}
