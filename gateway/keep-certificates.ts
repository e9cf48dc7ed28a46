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
  /** Shows what is newest; opens the port with the first certificates. Gives whether proxies are served. */
  readonly show: () => Promise<boolean>
  /** Nothing can be served, and waiting does not help. */
  readonly onFatal: (error: unknown) => void
}

/**
 * Looks each minute, as long as the relay runs, whether a certificate is due, and renews it; sooner while nothing can be
 * served without. Resolves after the first look. Rejects with the `conflict` that keeps a relay from serving at all.
 */
export async function keepCertificates(keeping: CertificateKeeping): Promise<void> {
  const { certificates, sign, pauses, log, show, onFatal } = keeping
  let lastFault: string | undefined
  let retryMs = retryMsMin
  await look()

  async function look(): Promise<void> {
    let serves = false
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
      if (error instanceof Problem && error.kind === 'conflict' && !serves) throw error
    }
    pauses.later(serves ? lookMs : retryMs, () => void look().catch(onFatal))
    if (!serves) retryMs = Math.min(retryMs * 1.5, retryMsMax)
  }
}
