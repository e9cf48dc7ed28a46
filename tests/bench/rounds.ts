export type Lag = {
  /** Milliseconds from a change to the last stream that read it. */
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Share of the changes that were in time. */
  readonly inTime: number
  /** Changes that some stream never read, because a later one of the same service overtook them or they were lost. */
  readonly missed: number
}

/**
 * How far streams are behind while a change is made every `periodMs`, which is a round.
 *
 * A change is in time when every stream has read it before two rounds are over: its own, and at most one for which it
 * was queued. A queue of a fixed length shows as a lag of so many rounds, and one that grows as a share that falls with
 * time. Order alone would show nothing: a server that is ever further behind still sends everything in order.
 */
export function lagOf(
  changes: readonly { readonly at: bigint; readonly last: bigint; readonly streams: number }[],
  { periodMs, proxies }: { readonly periodMs: number; readonly proxies: number },
): Lag {
  const whole = changes.filter(({ streams }) => streams === proxies)
  const lags = whole.map(({ at, last }) => Number(last - at) / 1e6).toSorted((a, b) => a - b)
  const of = (share: number) => lags[Math.min(lags.length - 1, Math.floor(lags.length * share))] ?? Number.NaN
  return {
    ...{ p50: of(0.5), p99: of(0.99), max: of(1), missed: changes.length - whole.length },
    inTime: lags.filter((lag) => lag <= 2 * periodMs).length / changes.length,
  }
}
