import type { Violation } from '#mesh/model/problem.ts'
import { type Certificate, same, verifyKeyOf } from '#mesh/trust/certificate.ts'
import type { GeneralName } from '#mesh/trust/general-name.ts'
import { constraintFault } from '#mesh/trust/name-constraints.ts'
import { type ExtendedUsage, extendedUsages, oids } from '#mesh/trust/oid.ts'
import { isSignedBy } from '#mesh/trust/public-key.ts'

export type ChainExpectations = {
  /** The anchors, compared by bytes. */
  readonly roots: readonly Certificate[]
  readonly now: Date
  /** What the first certificate is to be used for; absent: whatever the chain allows. */
  readonly usage?: ExtendedUsage
}

/**
 * Path validation (RFC 5280 §6) of `chain`, the first certificate first, each signed by the next, up to one of `roots`;
 * the root itself may be in the chain or not. No violations: every link, signature, date, path length, name constraint,
 * usage and critical extension holds. Never throws.
 *
 * In our own code because node:crypto builds no paths; tests hold it against OpenSSL and Go. No anchor but a self-signed
 * root: with a CA in the middle as anchor its path length and issuer's constraints would go unchecked.
 */
export function checkChain(
  chain: readonly Certificate[],
  { roots, now, usage }: ChainExpectations,
): readonly Violation[] {
  const last = chain.at(-1)
  if (!last) return [{ path: 'chain', reason: 'is empty' }]
  if (chain.length > 8) return [{ path: 'chain', reason: `has ${chain.length} certificates; at most 8` }]
  if (roots.some((root) => same(root.der, last.der))) return pathFaults(chain, now, usage)
  const anchors = roots.filter((root) => linkFaults(last, root, '').length === 0)
  const [anchor] = anchors.filter((root) => now >= root.notBefore && now < root.notAfter).concat(anchors)
  if (!anchor) return [{ path: `chain[${chain.length - 1}]`, reason: 'is not signed by a trusted root' }]
  return pathFaults([...chain, anchor], now, usage)
}

/** `path` ends in the root. */
function pathFaults(path: readonly Certificate[], now: Date, usage: ExtendedUsage | undefined): Violation[] {
  return path.flatMap((certificate, i) => {
    const at = `chain[${i}]`
    const parent = path[i + 1] ?? certificate
    return [
      ...linkFaults(certificate, parent, at),
      ...dateFaults(certificate, now, at),
      ...(i > 0 ? authorityFaults(certificate, i - 1, at) : []),
      ...usageFaults(certificate, usage, at),
      ...(i === 0 ? signingFaults(certificate, usage, at) : []),
      ...unknownFaults(certificate, at),
      ...nameFaults(i === 0 ? [...certificate.names, ...hostsInSubject(certificate)] : certificate.names, {
        above: path.slice(i + 1),
        path: at,
      }),
    ]
  })
}

function linkFaults(certificate: Certificate, parent: Certificate, path: string): Violation[] {
  const { tbs: data, signature, signatureAlgorithm, authorityKeyId } = certificate
  if (!same(certificate.issuer, parent.subject)) return [{ path, reason: 'names another issuer' }]
  if (authorityKeyId && parent.subjectKeyId && !same(authorityKeyId, parent.subjectKeyId)) {
    return [{ path, reason: "names another key of its issuer's" }]
  }
  return isSignedBy(verifyKeyOf(parent), signatureAlgorithm, { data, signature })
    ? []
    : [{ path, reason: 'was not signed by its issuer' }]
}

function dateFaults({ notBefore, notAfter }: Certificate, now: Date, path: string): Violation[] {
  if (now < notBefore) return [{ path, reason: `begins at ${notBefore.toISOString()}` }]
  return now >= notAfter ? [{ path, reason: `ended at ${notAfter.toISOString()}` }] : []
}

/** `below`: how many authorities stand between this one and the leaf. */
function authorityFaults(certificate: Certificate, below: number, path: string): Violation[] {
  const { ca, pathLen, usage } = certificate
  if (!ca) return [{ path, reason: 'is no authority, yet signs' }]
  if (!usage?.includes('keyCertSign')) return [{ path, reason: 'may not sign certificates' }]
  return pathLen !== undefined && below > pathLen
    ? [{ path, reason: `allows ${pathLen} authorities below it; there are ${below}` }]
    : []
}

function usageFaults(certificate: Certificate, usage: ExtendedUsage | undefined, path: string): Violation[] {
  const { extendedUsage } = certificate
  return usage && extendedUsage && !extendedUsage.includes(extendedUsages[usage])
    ? [{ path, reason: `is not for ${usage}` }]
    : []
}

/** In TLS 1.3 whoever shows a certificate signs with its key, client and server alike. */
const signingFaults = ({ usage }: Certificate, wanted: ExtendedUsage | undefined, path: string): Violation[] =>
  wanted && usage && !usage.includes('digitalSignature') ? [{ path, reason: 'is not for signatures (keyUsage)' }] : []

const understood = new Set<string>(Object.values(oids))

function unknownFaults({ extensions, names, nameConstraints }: Certificate, path: string): Violation[] {
  const unknown = [...extensions].filter(([id, { critical }]) => critical && !understood.has(id))
  const isRead = !extensions.get(oids.subjectAltName)?.critical || names.some(({ kind }) => kind !== 'other')
  const bases = [...(nameConstraints?.permitted ?? []), ...(nameConstraints?.excluded ?? [])]
  const isOdd = bases.some(({ kind }) => kind === 'other')
  return [
    ...unknown.map(([id]) => ({ path, reason: `has the critical extension ${id}, which is not understood` })),
    ...(isRead ? [] : [{ path, reason: 'has critical names, none of them of a kind that is understood' }]),
    ...(isOdd ? [{ path, reason: 'has name constraints of a kind that is not understood' }] : []),
  ]
}

/**
 * A common name that reads as a host, in a certificate without DNS names: OpenSSL holds it against the constraints too,
 * because clients of old dialled by it.
 */
function hostsInSubject({ names, attributes }: Certificate): readonly GeneralName[] {
  if (names.some(({ kind }) => kind === 'dns')) return []
  return attributes.flatMap(({ oid, text = '' }) =>
    oid === oids.commonName && /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$/.test(text) ? [{ kind: 'dns', text } as const] : [],
  )
}

function nameFaults(
  names: readonly GeneralName[],
  { above, path }: { readonly above: readonly Certificate[]; readonly path: string },
): Violation[] {
  return above.flatMap(({ nameConstraints }) =>
    nameConstraints === undefined
      ? []
      : names.flatMap((name) => {
          const fault = constraintFault(nameConstraints, name)
          return fault ? [{ path, reason: `its ${name.kind} name ${fault}` }] : []
        }),
  )
}
