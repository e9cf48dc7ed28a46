import type { ToldRefusal } from '#gateway/identity/look.ts'

/** Why a handshake was refused, as a closed set: the text beside it holds what the far end chose. */
export type RefusalCause =
  | 'no-certificate'
  | 'expired'
  | 'not-yet-valid'
  | 'unknown-issuer'
  | 'constraint'
  | 'name'
  | 'no-bundle'
  | 'no-tls'
  | 'refused-by-peer'
  | 'other'

/** In order: the first that fits. Source: the words of Envoy 1.40 and BoringSSL. */
const words: readonly (readonly [RefusalCause, RegExp])[] = [
  ['name', /SAN matcher/i],
  ['no-bundle', /no trust bundle store/i],
  ['no-certificate', /PEER_DID_NOT_RETURN_A_CERTIFICATE|did not (provide|return)/i],
  ['expired', /certificate has expired|CERTIFICATE_EXPIRED/i],
  ['not-yet-valid', /not yet valid/i],
  [
    'constraint',
    /subtree violation|name constraint|path length|invalid name syntax|invalid CA|unsuitable certificate purpose/i,
  ],
  ['unknown-issuer', /unable to get (local )?issuer|self.signed|unable to verify/i],
  ['no-tls', /WRONG_VERSION_NUMBER|HTTP_REQUEST|HTTPS_PROXY_REQUEST/],
  ['refused-by-peer', /ALERT|UNKNOWN_CA/i],
]
export const causeOf = (text: string): RefusalCause => words.find(([, pattern]) => pattern.test(text))?.[0] ?? 'other'

export type SeenRefusal = ToldRefusal & { readonly reason: RefusalCause; readonly pod: string }

/** What proxies told of refused handshakes: the newest kinds, and how many of each cause. */
export type Refusals = {
  told(pod: string, refusals: readonly ToldRefusal[]): void
  /** The newest first. */
  list(): readonly SeenRefusal[]
  counts(): Readonly<Partial<Record<RefusalCause, number>>>
}

const kept = 64

export function openRefusals(): Refusals {
  const seen = new Map<string, SeenRefusal>()
  const counts: Partial<Record<RefusalCause, number>> = {}
  return {
    told: (pod, refusals) => {
      for (const one of refusals) {
        const reason = causeOf(one.cause)
        const key = JSON.stringify([one.peer, one.local, reason])
        const count = (seen.get(key)?.count ?? 0) + one.count
        counts[reason] = (counts[reason] ?? 0) + one.count
        seen.delete(key)
        seen.set(key, { ...one, pod, reason, count })
        if (seen.size > kept) for (const oldest of seen.keys()) if (seen.delete(oldest)) break
      }
    },
    list: () => [...seen.values()].toReversed(),
    counts: () => ({ ...counts }),
  }
}
