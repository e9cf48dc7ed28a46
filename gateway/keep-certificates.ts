import type { Logger } from 'pino'
import type { Certificates } from '#gateway/certificates.ts'
import type { Pauses } from '#gateway/pauses.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { SignAnswer, SignRequest } from '#mesh/wire/join.ts'

const lookMs = 60_000
const retryMsMin = 2000
const retryMsMax = 30_000

export type CertificateKeeping = {
  readonly certificates: Pick<Certificates, 'renew' | 'expiry'>
  readonly sign: (request: SignRequest) => Promise<SignAnswer>
  readonly pauses: Pick<Pauses, 'later' | 'ended'>
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Told of each renewal that failed. */
  readonly onFailed?: () => void
  /** Shows what is newest; opens the port with the first certificates. Gives whether proxies are served. */
  readonly show: () => Promise<boolean>
  /** From 0 to 1. */
  readonly random?: () => number
  /** Nothing can be served, and waiting does not help. */
  readonly onFatal: (error: unknown) => void
}

export type KeptCertificates = {
  /** The end of the first look. Rejects with the `conflict` that keeps a relay from serving at all. */
  readonly first: Promise<void>
  /** What is wanted of certificates may have changed: looks now, or once more after the look that is under way. */
  look(): void
  /** Why the last renewal failed; undefined where it did not. */
  fault(): string | undefined
}

/**
 * Looks each minute, as long as the relay runs, whether a certificate is due, and renews it; sooner while nothing can be
 * served without, and after the time that a centre with too much to do asks for, give or take half of it: a fleet that
 * was refused together does not come back together.
 */
export function keepCertificates(keeping: CertificateKeeping): KeptCertificates {
  const { certificates, sign, pauses, log, show, onFatal, random = Math.random } = keeping
  let lastFault: string | undefined
  let retryMs = retryMsMin
  let looking = true
  let again = false
  // Only the newest of the pauses leads to a look.
  let turn = 0
  const next = () => {
    if (looking) again = true
    else begin().catch(onFatal)
  }
  return { first: begin(), look: next, fault: () => lastFault }

  async function begin(): Promise<void> {
    looking = true
    again = false
    turn++
    const waitMs = await look().finally(() => {
      looking = false
    })
    const mine = turn
    pauses.later(again ? 0 : waitMs, () => {
      if (mine === turn) next()
    })
  }

  /** Gives how long to wait for the next look. */
  async function look(): Promise<number> {
    let serves = false
    let waitMs: number | undefined
    try {
      const renewed = await certificates.renew(sign).finally(async () => {
        serves = await show()
      })
      if (renewed) log.info({ ...certificates.expiry() }, 'certificates renewed')
      lastFault = undefined
      retryMs = retryMsMin
    } catch (error) {
      const err = (error as Error).message
      if (err !== lastFault && !pauses.ended())
        log.warn({ err, expiry: certificates.expiry() }, 'certificates could not be renewed yet')
      lastFault = err
      keeping.onFailed?.()
      if (error instanceof Problem && error.kind === 'conflict' && !serves) throw error
      waitMs = askedFor(error, random)
    }
    const isWell = serves && lastFault === undefined
    waitMs ??= isWell ? lookMs : retryMs
    if (!isWell) retryMs = Math.min(retryMs * 1.5, serves ? lookMs : retryMsMax)
    return waitMs
  }
}

const askedSecondsMax = 600

/** How long the centre asks to be left alone, spread; undefined where it does not. */
function askedFor(error: unknown, random: () => number): number | undefined {
  const seconds = error instanceof Problem ? error.extra['retryAfterSeconds'] : undefined
  if (typeof seconds !== 'number' || !(seconds > 0)) return undefined
  return Math.min(seconds, askedSecondsMax) * 1000 * (0.5 + random())
}
