import { sha256Hex } from '#mesh/model/canonical.ts'
import type { TrustDomain } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { bundleLimits } from '#mesh/model/trust-bundle.ts'
import { type Certificate, parseCertificate, same, verifyKeyOf } from '#mesh/trust/certificate.ts'
import { constraintFault } from '#mesh/trust/name-constraints.ts'
import { extendedUsages, oids } from '#mesh/trust/oid.ts'
import { parsePem, toPem } from '#mesh/trust/pem.ts'
import { isSignedBy } from '#mesh/trust/public-key.ts'

/** What a list of roots is held against. */
export type ForeignRootExpectations = {
  /** By the centre’s clock. */
  readonly now: Date
  /** The trust domain that they are to speak for. */
  readonly trustDomain: TrustDomain
  /** Roots that are trusted for something else already, with the words to name them by: the mesh's own, other domains'. */
  readonly known?: readonly { readonly what: string; readonly certificate: Certificate }[]
}

export type ForeignRoots = {
  /** Those that could be read, in order. */
  readonly certificates: readonly Certificate[]
  /** The PEM of those, without the text around the blocks; one each. */
  readonly pems: readonly string[]
  /** Every fault of every one; none: all of them may be trusted. */
  readonly violations: readonly Violation[]
}

/**
 * Reads the roots of another mesh, or one that is brought along, and names every fault of each: `roots[1]: ended at …`.
 * Throws `invalid` only where the text is no PEM of certificates, or holds more than 16.
 *
 * A root is self-signed, a CA that may sign and leaves room for issuing CAs below it (path length 1 or more, or none),
 * valid now, with a key and a signature that are still taken (no MD5, no SHA-1), and its constraints, if any, let its own
 * trust domain through. No CA in the middle: validators take one as an anchor and then leave its path length unchecked
 * (measured). Where it names a trust domain, that one. No two of one subject or one key, here or among `known`: validators pick an issuer by its name, so the
 * wrong one of two would be tried, and one key trusted twice speaks for two domains.
 */
export function checkForeignRoots(pem: string, expectations: ForeignRootExpectations): ForeignRoots {
  const blocks = parsePem(pem, ['CERTIFICATE'], 'roots')
  if (blocks.length > bundleLimits.rootsEach) {
    const reason = `it holds ${blocks.length} certificates; at most ${bundleLimits.rootsEach}`
    throw new Problem('invalid', `roots cannot be accepted: ${reason}`, { violations: [{ path: 'roots', reason }] })
  }
  return checkForeignDers(
    blocks.map((der, i) => ({ path: `roots[${i}]`, der })),
    expectations,
  )
}

/** The same for certificates that came by another way than PEM, each with the path to name it by. */
export function checkForeignDers(
  ders: readonly { readonly path: string; readonly der: Uint8Array }[],
  { now, trustDomain, known = [] }: ForeignRootExpectations,
): ForeignRoots {
  const read = ders.map(({ path, der }) => readOne(der, path))
  const certificates = read.flatMap(({ certificate }) => (certificate ? [certificate] : []))
  const violations = read.flatMap(({ certificate, violation, path }, i) => {
    if (!certificate) return violation
    const before = read
      .slice(0, i)
      .flatMap((one) => (one.certificate ? [{ what: one.path, certificate: one.certificate }] : []))
    const faults = [
      ...authorityFaults(certificate),
      ...dateFaults(certificate, now),
      ...selfFaults(certificate),
      ...reachFaults(certificate, trustDomain),
      ...nameFaults(certificate, trustDomain),
      ...twinFaults(certificate, [...before, ...known]),
    ]
    return faults.map((reason) => ({ path, reason }))
  })
  return { certificates, pems: certificates.map(({ der }) => toPem(der)), violations }
}

type Read = { readonly path: string; readonly certificate?: Certificate; readonly violation: readonly Violation[] }

function readOne(der: Uint8Array, path: string): Read {
  try {
    return { path, certificate: parseCertificate(der, path), violation: [] }
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause
    return { path, violation: [{ path, reason: cause.violations[0]?.reason ?? cause.message }] }
  }
}

const when = (fault: boolean, reason: string): string[] => (fault ? [reason] : [])

const authorityFaults = ({ ca, pathLen, usage, extendedUsage, extensions }: Certificate): string[] => [
  ...when(!ca, 'is no authority (CA:FALSE)'),
  ...when(pathLen === 0, 'has the path length 0: no issuing CA may stand below it'),
  ...when(ca && usage !== undefined && !usage.includes('keyCertSign'), 'may not sign certificates (no keyCertSign)'),
  ...when(
    extendedUsage !== undefined && !Object.values(extendedUsages).every((use) => extendedUsage.includes(use)),
    'is not for both clients and servers (extendedKeyUsage)',
  ),
  ...[...extensions]
    .filter(([id, { critical }]) => critical && !understood.has(id))
    .map(([id]) => `has the critical extension ${id}, which is not understood`),
]

const understood = new Set<string>(Object.values(oids))

const dateFaults = ({ notBefore, notAfter }: Certificate, now: Date): string[] => [
  ...when(now < notBefore, `begins at ${notBefore.toISOString()}, in the future`),
  ...when(now >= notAfter, `ended at ${notAfter.toISOString()}`),
]

function selfFaults(certificate: Certificate): string[] {
  const { subject, issuer, tbs: data, signature, signatureAlgorithm, attributes } = certificate
  if (!same(subject, issuer)) return ['was issued by another authority: only a self-signed root can be trusted']
  if (attributes.length === 0) return ['has no subject, so nothing can name it as its issuer']
  const own = isSignedBy(verifyKeyOf(certificate), signatureAlgorithm, { data, signature })
  return when(!own, 'was not signed by its own key')
}

function reachFaults({ nameConstraints }: Certificate, trustDomain: TrustDomain): string[] {
  const uri = { kind: 'uri', text: `spiffe://${trustDomain}/ns/a/sa/b` } as const
  const fault = nameConstraints && constraintFault(nameConstraints, uri)
  return when(fault !== undefined, `its name constraints shut out spiffe://${trustDomain}: that ${fault}`)
}

/** SPIFFE has a root carry the name of its trust domain: one with another name is another's, in the wrong file. */
const nameFaults = ({ names }: Certificate, trustDomain: TrustDomain): string[] =>
  names.flatMap((name) => {
    const [, host] = (name.kind === 'uri' && /^spiffe:\/\/([^/]*)/i.exec(name.text)) || []
    return when(host !== undefined && host !== trustDomain, `is a root of spiffe://${host}, not of ${trustDomain}`)
  })

type Known = NonNullable<ForeignRootExpectations['known']>

function twinFaults(certificate: Certificate, others: Known): string[] {
  const digest = sha256Hex(certificate.der)
  return others.flatMap(({ what, certificate: other }) => {
    if (sha256Hex(other.der) === digest) return [`is the same certificate as ${what}`]
    return [
      ...when(same(certificate.publicKey.spki, other.publicKey.spki), `has the same key as ${what}`),
      ...when(same(certificate.subject, other.subject), `has the same subject as ${what}`),
    ]
  })
}
