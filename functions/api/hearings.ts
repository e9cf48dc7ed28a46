import type { Centre } from '#control/centre.ts'

/** What this process last heard of one cluster's reports. */
export type Hearing = {
  /** When one was taken in, Unix ms. */
  readonly takenAt?: number
  /** Why all of them are refused since then; absent where the last was taken. */
  readonly refusedFor?: string
}

const hearings = new WeakMap<Centre, Map<string, Hearing>>()

/**
 * The hearings of a centre's members, by id. Only members are noted, so there are as many at most; whatever a restart
 * loses is heard again within a heartbeat.
 */
export function hearingsOf(centre: Centre): Map<string, Hearing> {
  const known = hearings.get(centre) ?? new Map<string, Hearing>()
  hearings.set(centre, known)
  return known
}
