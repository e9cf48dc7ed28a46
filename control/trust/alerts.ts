import type { Centre } from '#control/centre.ts'
import { loadAuthorities } from '#control/store/authorities.ts'
import { type ForeignDomainRow, loadForeignDomains } from '#control/store/foreign-domains.ts'
import { loadRelayTrust } from '#control/trust/facts.ts'
import { foreignRoots } from '#control/trust/foreign.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Certificate, certificatePem, parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { type Standing, standingAt } from '#mesh/trust/due.ts'
import { profiles } from '#mesh/trust/profile.ts'

const issuingLifeMs = profiles['issuing-ca'].lifeSecondsMax * 1000
const left: Readonly<Partial<Record<Standing, string>>> = {
  warn: 'a quarter of its life is left',
  urgent: 'a tenth of its life is left',
  ended: 'it has ended',
}

/**
 * What ends before long and should have been renewed by now, one line each, the authorities first: at a quarter and at a
 * tenth of the life. Strangers may read them: no name of a cluster is in one that they could not know from elsewhere.
 */
export async function loadTrustAlerts(centre: Centre): Promise<string[]> {
  const now = new Date(centre.now())
  const { authorities, foreign, trust } = await centre.db.read(async (tx) => ({
    authorities: await loadAuthorities(tx, centre.mesh),
    foreign: await loadForeignDomains(tx, centre.mesh),
    trust: await loadRelayTrust(tx, centre.mesh, centre.now()),
  }))
  const alerts: string[] = []
  for (const { kind, number, state, certificate, chain } of authorities) {
    if (state === 'prepared' || state === 'revoked') continue
    const { notBefore, notAfter } = firstToEnd([
      certificate,
      ...(chain ? parseCertificates(chain).map(certificatePem) : []),
    ])
    const why = left[standingAt(notBefore, notAfter, now)]
    if (why !== undefined)
      alerts.push(
        `${kind} ${number ?? 1} (${state}) ends at ${notAfter.toISOString()}, ${why}: isthmus trust rotate ${kind}${chain ? ' --where plugged' : ''}`,
      )
  }
  alerts.push(...foreign.flatMap((row) => foreignAlert(row, now)))
  const ending = trust.flatMap(({ said }) => {
    const notAfter = said?.issuing?.notAfter
    return notAfter === undefined
      ? []
      : [{ notAfter, standing: standingAt(new Date(notAfter - issuingLifeMs), new Date(notAfter), now) }]
  })
  const late = ending.filter(({ standing }) => left[standing] !== undefined)
  const first = Math.min(...late.map(({ notAfter }) => notAfter))
  if (late.length > 0)
    alerts.push(
      `issuing CAs of ${late.length} clusters were not renewed, and the first ends at ${new Date(first).toISOString()}: ` +
        'see isthmus trust show, and what their relays say',
    )
  return alerts
}

/** Their rotation is theirs, and we hear of it from people: the last of their roots that ends is the one that counts. */
function foreignAlert(row: ForeignDomainRow, now: Date): string[] {
  const [last] = foreignRoots(row).toSorted((a, b) => b.notAfter.getTime() - a.notAfter.getTime())
  const why = last && left[standingAt(last.notBefore, last.notAfter, now)]
  if (why === undefined) return []
  const mend = 'ask the other mesh for its newest bundle, then: isthmus trust federate'
  return [`the roots of a foreign trust domain end at ${last?.notAfter.toISOString()}, ${why}: ${mend}`]
}

/** An authority below one that ends before it is no authority any more then. */
function firstToEnd(pems: readonly string[]): Certificate {
  const [own, ...above] = pems.map((pem) => parseCertificate(pem))
  if (!own) throw new Problem('internal', 'an authority without a certificate')
  return above.reduce((first, one) => (one.notAfter < first.notAfter ? one : first), own)
}
