import type { Answer } from '#gateway/resolve/ask-dns.ts'

/** Bounds of what names may cost and of how long silence is forgiven. Milliseconds where they say so. */
export const nameLimits = {
  /** Names that are followed; further ones are not resolved, and that is said. */
  names: 2048,
  addressesPerName: 16,
  /** Questions under way at once. */
  questions: 8,
  askMsMin: 5000,
  askMsMax: 300_000,
  /** How long an address that answers no longer name is still dialled: answers may name some of many in turn. */
  lingerMs: 60_000,
  /** How long the last good answer holds while the DNS says nothing at all. */
  silenceMs: 7 * 24 * 3_600_000,
  /** How long it holds while the DNS says that the name has no address. */
  missingMs: 3_600_000,
} as const
export type NameLimits = { readonly [limit in keyof typeof nameLimits]: number }

/** What is known of one name. Times are of one clock that never goes back. */
export type KnownName = {
  /** To be dialled, sorted; `seenAt` is the last good answer that named it. */
  readonly addresses: readonly { readonly address: string; readonly seenAt: number }[]
  /** Set while the last answer was not good. */
  readonly fault?: NameFault
  /** Of how many addresses only `addressesPerName` are dialled. */
  readonly cutFrom?: number
}

type NameFault = {
  readonly kind: 'none' | 'failed'
  readonly reason: string
  /** Answers in a row that were not good, and since when. */
  readonly times: number
  readonly since: number
  /** Since when the DNS, whenever it said something, said no. */
  readonly noSince?: number
}

export const knownAtStart = (addresses: readonly string[], now: number): KnownName => ({
  addresses: addresses.map((address) => ({ address, seenAt: now })),
})

/**
 * What is known after an answer. A good one replaces; addresses that it leaves out go a moment later, and Envoy lets the
 * connections to them end by themselves. Any other keeps the last good one, for as long as the limits forgive: unknown
 * is not empty. Too many addresses: those known before stay, then the lowest, so that equal answers give equal choices.
 */
export function afterAnswer(before: KnownName | undefined, answer: Answer, now: number, limits: NameLimits): KnownName {
  const known = before?.addresses ?? []
  if (answer.kind !== 'addresses') {
    const fault = faultAfter(before?.fault, answer, now)
    const isNo = answer.kind === 'none' && now - (fault.noSince ?? now) >= limits.missingMs
    return { addresses: isNo || now - fault.since >= limits.silenceMs ? [] : known, fault }
  }
  const wasKnown = new Set(known.map(({ address }) => address))
  const said = [...new Set(answer.addresses)].toSorted()
  const inOrder = [...said.filter((one) => wasKnown.has(one)), ...said.filter((one) => !wasKnown.has(one))]
  const fresh = inOrder.slice(0, limits.addressesPerName).map((address) => ({ address, seenAt: now }))
  const named = new Set(said)
  const lingering = known.filter(({ address, seenAt }) => !named.has(address) && now - seenAt < limits.lingerMs)
  const kept = [...fresh, ...lingering].slice(0, limits.addressesPerName)
  return {
    addresses: kept.toSorted((a, b) => (a.address < b.address ? -1 : 1)),
    ...(said.length > limits.addressesPerName ? { cutFrom: said.length } : {}),
  }
}

function faultAfter(
  before: NameFault | undefined,
  answer: Exclude<Answer, { kind: 'addresses' }>,
  now: number,
): NameFault {
  const noSince = before?.noSince ?? (answer.kind === 'none' ? now : undefined)
  return {
    ...{ kind: answer.kind, reason: answer.reason },
    ...{ times: (before?.times ?? 0) + 1, since: before?.since ?? now },
    ...(noSince === undefined ? {} : { noSince }),
  }
}

/**
 * When to ask again, in ms: at the end of the answer's life, or of an address that lingers; after a fault at once as
 * often as is allowed, then half as often each time, a minute at most. `random` in [0, 1) spreads relays apart, always
 * to later: never faster than `askMsMin`.
 */
export function nextAskMs(known: KnownName, answer: Answer, now: number, random: number, limits: NameLimits): number {
  const times = known.fault?.times ?? 0
  const lingers = known.addresses
    .filter(({ seenAt }) => seenAt < now)
    .map(({ seenAt }) => seenAt + limits.lingerMs - now)
  const wanted =
    answer.kind === 'addresses'
      ? Math.min(answer.ttlSeconds * 1000, ...lingers)
      : Math.min(limits.askMsMin * 2 ** Math.min(times - 1, 16), 60_000)
  return Math.max(limits.askMsMin, Math.min(limits.askMsMax, wanted)) * (1 + random / 5)
}
