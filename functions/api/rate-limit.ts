import { Problem } from '#mesh/model/problem.ts'

/** `burst` requests at once, then `perSecond`. */
export type Rate = { readonly perSecond: number; readonly burst: number }

type Bucket = { tokens: number; at: number }

/**
 * Token buckets by caller. `take` spends one token or throws `too-many` with the seconds to wait. At most `callersMax`
 * buckets are kept; the one unused longest is forgotten first, which only ever helps that caller.
 */
export class RateLimit {
  readonly #buckets = new Map<string, Bucket>()
  readonly #rate: Rate
  readonly #callersMax: number

  constructor(rate: Rate, callersMax = 20_000) {
    this.#rate = rate
    this.#callersMax = callersMax
  }

  take(caller: string, now: number): void {
    const tokens = this.#tokensOf(caller, now)
    const enough = tokens >= 1
    this.#buckets.delete(caller)
    this.#buckets.set(caller, { tokens: enough ? tokens - 1 : tokens, at: now })
    if (this.#buckets.size > this.#callersMax) {
      const oldest = this.#buckets.keys().next()
      if (!oldest.done) this.#buckets.delete(oldest.value)
    }
    if (!enough) throw this.#tooMany(tokens)
  }

  /** Throws as `take` would, and spends nothing. */
  check(caller: string, now: number): void {
    const tokens = this.#tokensOf(caller, now)
    if (tokens < 1) throw this.#tooMany(tokens)
  }

  #tokensOf(caller: string, now: number): number {
    const old = this.#buckets.get(caller) ?? { tokens: this.#rate.burst, at: now }
    const elapsed = Math.max(0, now - old.at) / 1000
    return Math.min(this.#rate.burst, old.tokens + elapsed * this.#rate.perSecond)
  }

  #tooMany(tokens: number): Problem {
    const { perSecond, burst } = this.#rate
    const retryAfterSeconds = Math.max(1, Math.ceil((1 - tokens) / perSecond))
    return new Problem(
      'too-many',
      `more than ${perSecond} requests a second (burst ${burst}): wait ${retryAfterSeconds} s`,
      { extra: { retryAfterSeconds } },
    )
  }
}
