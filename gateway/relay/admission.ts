import type { AdsLimits } from '#gateway/relay/limits.ts'
import { type ConnectedProxy, identityText, keyOf } from '#gateway/relay/node.ts'
import { Problem } from '#mesh/model/problem.ts'

type Who = Pick<ConnectedProxy, 'identity' | 'id'>

export type Admission = {
  /** Throws `too-many`. */
  take(proxy: Who): void
  /** A stream that was let in is at its end. */
  left(proxy: Who): void
  forgetIdle(): void
}

/** The proxies of one identity together may open so many times what one may: ids are free to invent, identities are not. */
const proxiesPerIdentity = 50

/**
 * How often each proxy, and each identity, may open a stream: a burst, then so many a second; and how many an identity
 * may have at a time, so that others always find room. Who is quiet is forgotten.
 */
export function openAdmission(limits: AdsLimits, now: () => number): Admission {
  const spent = new Map<string, { used: number; at: number }>()
  const open = new Map<string, number>()
  const usedAt = (entry: { used: number; at: number }) =>
    Math.max(0, entry.used - ((now() - entry.at) / 1000) * limits.opensPerSecond)
  const take = (key: string, cost: number) => {
    const before = spent.get(key)
    const used = (before ? usedAt(before) : 0) + cost
    if (used > limits.opensBurst)
      throw new Problem('too-many', 'this proxy opens streams too fast: wait a few seconds before the next')
    spent.set(key, { used, at: now() })
  }
  return {
    take: (proxy: Who) => {
      const identity = identityText(proxy.identity)
      const mine = open.get(identity) ?? 0
      if (mine >= limits.streamsPerIdentity)
        throw new Problem(
          'too-many',
          `${identity} has its ${mine} streams: close some, or give the others a service account of their own`,
        )
      take(identity, 1 / proxiesPerIdentity)
      take(keyOf(proxy), 1)
      open.set(identity, mine + 1)
    },
    left: (proxy: Who) => {
      const identity = identityText(proxy.identity)
      const others = (open.get(identity) ?? 0) - 1
      if (others > 0) open.set(identity, others)
      else open.delete(identity)
    },
    forgetIdle: () => {
      for (const [key, entry] of spent) if (usedAt(entry) === 0) spent.delete(key)
    },
  }
}
