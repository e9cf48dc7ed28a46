import { madeAt } from '#gateway/wanted-authority.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'

type Log = Readonly<Record<'warn' | 'error', (facts: object, text: string) => void>>

/** Percent of the life that is left; a back-dated beginning is no life. */
const leftOf = (certificate: Certificate, now: Date): number => {
  const since = madeAt(certificate)
  return (100 * (certificate.notAfter.getTime() - now.getTime())) / (certificate.notAfter.getTime() - since)
}

/**
 * Told of each renewal that failed: warns once below 50, 25 and 10 % of the life left, and once when it has ended.
 * Another certificate begins anew.
 */
export function lifeWarner(what: string, log: Log): (certificate: Certificate | undefined, now: Date) => void {
  let of: Certificate | undefined
  let thresholds: number[] = []
  return (certificate, now) => {
    if (!certificate) return
    if (certificate !== of) thresholds = [50, 25, 10, 0]
    of = certificate
    const left = leftOf(certificate, now)
    const passed = thresholds.filter((threshold) => left <= threshold)
    if (passed.length === 0) return
    thresholds = thresholds.filter((threshold) => left > threshold)
    const facts = { notAfter: certificate.notAfter, leftPercent: Math.max(0, Math.round(left)) }
    if (left <= 0) log.error(facts, `${what} has ended and could not be renewed: nothing new is certified here`)
    else log.warn(facts, `less than ${passed.at(-1)} % of the life of ${what} is left, and it could not be renewed`)
  }
}

/** What people should know of an issuing CA that could not be renewed, from half of its life on. */
export function issuingEnds(
  certificate: Certificate | undefined,
  facts: { readonly now: Date; readonly fault: string | undefined; readonly cluster: string },
): Condition[] {
  const { now, fault, cluster } = facts
  if (!certificate || fault === undefined) return []
  const left = leftOf(certificate, now)
  if (left > 50) return []
  const level = left <= 0 ? 'Ended' : left <= 10 ? 'TenPercent' : left <= 25 ? 'QuarterLeft' : 'HalfLeft'
  const until = certificate.notAfter.toISOString()
  const message =
    `the issuing CA ${left <= 0 ? `ended at ${until}` : `ends at ${until} (${Math.round(left)} % of its life is left)`} and could ` +
    `not be renewed: ${fault}. Until then workloads get certificates; mend the line to the centre`
  return [{ type: 'IssuingEnds', reason: level, message, object: `cluster ${cluster}` }]
}
