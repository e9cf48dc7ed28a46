import { X509Certificate } from 'node:crypto'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { TrustDomain } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Certificate, parseCertificate, readAlgorithm, same, verifyKeyOf } from '#mesh/trust/certificate.ts'
import { decode, itemsOf } from '#mesh/trust/der.ts'
import { constraintFault } from '#mesh/trust/name-constraints.ts'
import { extendedUsages, oids } from '#mesh/trust/oid.ts'
import { isSignedBy, parsePublicKey } from '#mesh/trust/public-key.ts'

// What keeps a certificate that somebody else made from being an authority here, in words that follow its name: each rule by
// itself, so that people are told all faults at once.

const when = (fault: boolean, reason: string): string[] => (fault ? [reason] : [])

/** `below`: how many authorities have to stand below it; absent: that is not looked at. */
export const authorityFaults = (
  { ca, pathLen, usage, extendedUsage, extensions }: Certificate,
  below?: number,
): string[] => [
  ...when(!ca, 'is no authority (CA:FALSE)'),
  ...when(pathLen !== undefined && below !== undefined && pathLen < below, roomFault(pathLen, below)),
  ...when(ca && usage !== undefined && !usage.includes('keyCertSign'), 'may not sign certificates (no keyCertSign)'),
  ...when(
    extendedUsage !== undefined && !Object.values(extendedUsages).every((use) => extendedUsage.includes(use)),
    'is not for both clients and servers (extendedKeyUsage)',
  ),
  ...[...extensions]
    .filter(([id, { critical }]) => critical && !understood.has(id))
    .map(([id]) => `has the critical extension ${id}, which is not understood`),
]

const roomFault = (pathLen = 0, below = 0): string =>
  pathLen === 0 && below === 1
    ? 'has the path length 0: no issuing CA may stand below it'
    : `has the path length ${pathLen}: ${below} authorities have to stand below it`

const understood = new Set<string>(Object.values(oids))

export const dateFaults = (
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  now: Date,
): string[] => [
  ...when(now < notBefore, `begins at ${notBefore.toISOString()}, in the future`),
  ...when(now >= notAfter, `ended at ${notAfter.toISOString()}`),
]

/** Of a root: that it vouches for itself. */
export function selfFaults(certificate: Certificate): string[] {
  const { subject, issuer, attributes } = certificate
  if (!same(subject, issuer)) return ['was issued by another authority: only a self-signed root can be trusted']
  if (attributes.length === 0) return ['has no subject, so nothing can name it as its issuer']
  return when(!isMadeBy(certificate, certificate), 'was not signed by its own key')
}

/** Whether `issuer`'s key made the signature; its name is not looked at. */
export const isMadeBy = ({ tbs: data, signature, signatureAlgorithm }: Certificate, issuer: Certificate): boolean =>
  isSignedBy(verifyKeyOf(issuer), signatureAlgorithm, { data, signature })

/** Whether its name constraints let identities of the trust domain through. */
export function reachFaults({ nameConstraints }: Certificate, trustDomain: TrustDomain): string[] {
  const uri = { kind: 'uri', text: `spiffe://${trustDomain}/ns/a/sa/b` } as const
  const fault = nameConstraints && constraintFault(nameConstraints, uri)
  return when(fault !== undefined, `its name constraints shut out spiffe://${trustDomain}: that ${fault}`)
}

/** An authority that is there already, with the words to name it by. */
export type KnownAuthority = { readonly what: string; readonly certificate: Certificate }

/** Validators pick an issuer by its name, so of two of one name the wrong one is tried; one key twice speaks for two. */
export function twinFaults(certificate: Certificate, others: readonly KnownAuthority[]): string[] {
  const digest = sha256Hex(certificate.der)
  return others.flatMap(({ what, certificate: other }) => {
    if (sha256Hex(other.der) === digest) return [`is the same certificate as ${what}`]
    return [
      ...when(same(certificate.publicKey.spki, other.publicKey.spki), `has the same key as ${what}`),
      ...when(same(certificate.subject, other.subject), `has the same subject as ${what}`),
    ]
  })
}

/** A certificate as it was read, or every reason why it was not: our own reader stops at its first, OpenSSL reads on. */
export function readAuthority(
  der: Uint8Array,
  what: string,
  now: Date,
): { certificate?: Certificate; faults: string[] } {
  try {
    return { certificate: parseCertificate(der, what), faults: [] }
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause
    return { faults: [...new Set([reasonOf(cause), ...moreFaults(der, what, now)])] }
  }
}

function moreFaults(der: Uint8Array, what: string, now: Date): string[] {
  try {
    const read = new X509Certificate(der)
    const { validFromDate: notBefore, validToDate: notAfter, ca, publicKey } = read
    const spki = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }))
    return [
      ...faultOf(() => readAlgorithm(itemsOf(decode(der, what), what)[1], what)),
      ...faultOf(() => parsePublicKey(spki)),
      ...dateFaults({ notBefore, notAfter }, now),
      ...when(!ca, 'is no authority (CA:FALSE)'),
    ]
  } catch {
    return []
  }
}

function faultOf(read: () => unknown): string[] {
  try {
    read()
    return []
  } catch (cause) {
    return cause instanceof Problem ? [reasonOf(cause)] : []
  }
}

const reasonOf = (problem: Problem): string => problem.violations[0]?.reason ?? problem.message
