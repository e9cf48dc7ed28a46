import { Problem } from '#mesh/model/problem.ts'

/**
 * How the line to the centre stands. `away`: it cannot be reached, or cannot answer now. `refused`: it answered and said
 * no (this cluster was removed, a version does not fit, it reports too much), which mostly somebody has to mend. Either way the relay serves.
 */
export type LineState = 'connecting' | 'connected' | 'away' | 'refused'

export type Log = {
  info(facts: object, text: string): void
  warn(facts: object, text: string): void
}

export type Standing = {
  state(): LineState
  /** Unix ms. */
  facts(): { readonly since: number; readonly lastHeardAt?: number; readonly reason?: string }
  /** The centre gave a good answer, to whatever. */
  heard(): void
  /** A whole round of calls went well. */
  well(): void
  /** A round of calls failed. */
  lost(error: unknown): void
}

/** Keeps the state of the line. Only its changes are logged: a centre that is away for a day is two lines. */
export function openStanding(parts: {
  readonly centre: string
  readonly now: () => number
  readonly log: Log
}): Standing {
  const { centre, now, log } = parts
  let state: LineState = 'connecting'
  let since = now()
  let lastHeardAt: number | undefined
  let reason: string | undefined
  const turn = (to: LineState): void => {
    state = to
    since = now()
  }
  return {
    state: () => state,
    facts: () => ({
      since,
      ...(lastHeardAt === undefined ? {} : { lastHeardAt }),
      ...(reason === undefined ? {} : { reason }),
    }),
    heard: () => {
      lastHeardAt = now()
    },
    well: () => {
      if (state === 'connected') return
      const awayMs = state === 'connecting' ? 0 : now() - since
      turn('connected')
      reason = undefined
      log.info({ centre, awayMs }, 'connected to the centre')
    },
    lost: (error) => {
      const to = isRefusal(error) ? 'refused' : 'away'
      const before = reason
      reason = (error as Error).message
      if (state === to && (to === 'away' || reason === before)) return
      if (state !== to) turn(to)
      log.warn(
        { centre, reason },
        to === 'refused'
          ? 'the centre refuses this relay; serving what is known'
          : 'the centre is away; serving what is known',
      )
    },
  }
}

/** True where the centre answered and said no. */
const isRefusal = (error: unknown): boolean =>
  error instanceof Problem && error.kind !== 'internal' && error.kind !== 'unavailable'

/** True where it is this relay that the centre does not know (any more), or a centre that this relay does not know. */
export const isNotAMember = (error: unknown): error is Problem =>
  error instanceof Problem &&
  (error.kind === 'unauthenticated' || error.kind === 'forbidden' || error.extra['otherCa'] === true)
