/** How far a certificate's life has run, as a health sign: `renew` from the due time on, then ever more pressing. */
export type Standing = 'fresh' | 'renew' | 'warn' | 'urgent' | 'ended'

/**
 * When to renew: at half of the life, moved by up to ±10 % of it. `jitter` in [0, 1) is drawn once per certificate, so
 * that a fleet certified in one minute does not come back in one minute. Half, so that an outage of the issuer as long as
 * a third of the life is survived by everybody.
 */
export function dueAt(notBefore: Date, notAfter: Date, jitter: number): Date {
  const life = notAfter.getTime() - notBefore.getTime()
  const share = 0.5 + (Math.min(Math.max(jitter, 0), 1) - 0.5) * 0.2
  return new Date(notBefore.getTime() + Math.floor(life * share))
}

/** `warn` when a quarter of the life is left, `urgent` at a tenth. */
export function standingAt(notBefore: Date, notAfter: Date, now: Date): Standing {
  const life = notAfter.getTime() - notBefore.getTime()
  const left = (notAfter.getTime() - now.getTime()) / life
  if (left <= 0) return 'ended'
  if (left <= 0.1) return 'urgent'
  if (left <= 0.25) return 'warn'
  return left <= 0.5 ? 'renew' : 'fresh'
}
