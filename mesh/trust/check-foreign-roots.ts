import type { TrustDomain } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { bundleLimits } from '#mesh/model/trust-bundle.ts'
import {
  authorityFaults,
  dateFaults,
  type KnownAuthority,
  reachFaults,
  readAuthority,
  selfFaults,
  twinFaults,
} from '#mesh/trust/authority-faults.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import { parsePem, toPem } from '#mesh/trust/pem.ts'

/** What a list of roots is held against. */
export type ForeignRootExpectations = {
  /** By the centre’s clock. */
  readonly now: Date
  /** The trust domain that they are to speak for. */
  readonly trustDomain: TrustDomain
  /** Roots that are trusted for something else already, with the words to name them by: the mesh's own, other domains'. */
  readonly known?: readonly KnownAuthority[]
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
  const read = ders.map(({ path, der }) => readOne(der, path, now))
  const certificates = read.flatMap(({ certificate }) => (certificate ? [certificate] : []))
  const violations = read.flatMap(({ certificate, violation, path }, i) => {
    if (!certificate) return violation
    const before = read
      .slice(0, i)
      .flatMap((one) => (one.certificate ? [{ what: one.path, certificate: one.certificate }] : []))
    const faults = [
      ...authorityFaults(certificate, 1),
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

function readOne(der: Uint8Array, path: string, now: Date): Read {
  const { certificate, faults } = readAuthority(der, path, now)
  return { path, ...(certificate ? { certificate } : {}), violation: faults.map((reason) => ({ path, reason })) }
}

const when = (fault: boolean, reason: string): string[] => (fault ? [reason] : [])

/** SPIFFE has a root carry the name of its trust domain: one with another name is another's, in the wrong file. */
const nameFaults = ({ names }: Certificate, trustDomain: TrustDomain): string[] =>
  names.flatMap((name) => {
    const [, host] = (name.kind === 'uri' && /^spiffe:\/\/([^/]*)/i.exec(name.text)) || []
    return when(host !== undefined && host !== trustDomain, `is a root of spiffe://${host}, not of ${trustDomain}`)
  })
