import type { TrustDomain } from '#mesh/model/id.ts'
import type { Violation } from '#mesh/model/problem.ts'
import { Problem } from '#mesh/model/problem.ts'
import {
  authorityFaults,
  dateFaults,
  isMadeBy,
  type KnownAuthority,
  reachFaults,
  readAuthority,
  selfFaults,
  twinFaults,
} from '#mesh/trust/authority-faults.ts'
import { type Certificate, readName, same } from '#mesh/trust/certificate.ts'
import { decode } from '#mesh/trust/der.ts'
import { parsePem } from '#mesh/trust/pem.ts'

/** Names of the files, as Istio's Secret `cacerts` has them; the key is `ca-key.pem`, and never comes in here. */
export const pluggedFiles = ['ca-cert.pem', 'cert-chain.pem', 'root-cert.pem'] as const
export type PluggedFiles = { readonly [file in (typeof pluggedFiles)[number]]?: string }

export type PluggedExpectations = {
  readonly now: Date
  /** A trust domain that it has to be able to vouch for. */
  readonly trustDomain: TrustDomain
  /** How many authorities have to find room below it. */
  readonly below: number
  /** SubjectPublicKeyInfo of the key that was brought along; absent: that is a fault of its own, told elsewhere. */
  readonly key?: Uint8Array | undefined
  /** Authorities that are there already. What stands above the CA may be one of them: two may stand below one root. */
  readonly known?: readonly KnownAuthority[]
}

/** An authority that was brought along. */
export type PluggedCa = {
  /** Absent where there are faults. */
  readonly certificate?: Certificate
  /** What stands above it, its issuer first, the root last; empty where it is a root itself. */
  readonly chain: readonly Certificate[]
  /** Every fault of every file; none: it may be used. */
  readonly violations: readonly Violation[]
}

/** Of one file. */
export const pluggedBytesMax = 64 * 1024
const certificatesMax = 8

/**
 * Reads a CA that an operator brings and names every fault of every file at once: `ca-cert.pem: ended at …`. Never throws.
 *
 * `root-cert.pem` alone is a root that signs itself; `ca-cert.pem` beside it stands below that root, by way of
 * `cert-chain.pem`, which may begin with it and end in the root (so make Istio's tools it). All of them are authorities that
 * are valid now, with keys and signatures that are still taken, room for what has to stand below, no two of one name or key,
 * and in order: every one is issued by the next.
 */
export function checkPluggedCa(files: PluggedFiles, expected: PluggedExpectations): PluggedCa {
  const read = Object.fromEntries(pluggedFiles.map((file) => [file, readFile(file, files[file], expected.now)]))
  const all = pluggedFiles.flatMap((file) => read[file] ?? [])
  const unread = all.flatMap(({ path, faults }) => faults.map((reason) => ({ path, reason })))
  const single = [...wantsOne('ca-cert.pem', read), ...wantsOne('root-cert.pem', read)]
  const [given, above] = [read['ca-cert.pem']?.[0], read['root-cert.pem']?.[0]]
  const own = given ?? above
  if (!own) return faulty([...unread, { path: 'ca-cert.pem', reason: 'is missing, and so is root-cert.pem' }])
  const found = all.flatMap((one) => (one.certificate ? [{ what: one.path, certificate: one.certificate }] : []))
  const distinct = found.filter((one, i) => found.findIndex((other) => isSame(one, other)) === i)
  const { certificate } = own
  const root = above ? above.certificate : certificate && isSelfIssued(certificate) ? certificate : undefined
  const path = certificate ? pathFrom({ what: own.path, certificate }, distinct) : []
  const ownAt = distinct.findIndex((one) => same(one.certificate.der, certificate?.der))
  const violations = [
    ...unread,
    ...single,
    ...distinct.flatMap((one, i) => {
      const above = path.findIndex((other) => isSame(other, one))
      const faults = faultsOf(one, {
        ...expected,
        below: above < 0 ? undefined : expected.below + above,
        known: [
          ...distinct.slice(0, i),
          ...(expected.known ?? []).filter((there) => i === ownAt || !isSame(there, one)),
        ],
        isRoot: same(root?.der, one.certificate.der),
      })
      return faults.map((reason) => ({ path: one.what, reason }))
    }),
    ...(certificate
      ? orderFaults(path, { root, isGiven: above !== undefined, chain: read['cert-chain.pem'] ?? [] })
      : []),
    ...(certificate ? ownFaults({ what: own.path, certificate }, expected.key) : []),
  ]
  if (violations.length > 0 || !certificate) return faulty(violations)
  return { certificate, chain: path.slice(1).map((one) => one.certificate), violations }
}

const faulty = (violations: readonly Violation[]): PluggedCa => ({ chain: [], violations })

type Read = { readonly path: string; readonly certificate?: Certificate; readonly faults: readonly string[] }

/** One entry for each certificate of a file; one with a fault where it is no file of certificates. */
function readFile(file: string, text: string | undefined, now: Date): Read[] {
  if (text === undefined) return []
  if (text.length > pluggedBytesMax)
    return [{ path: file, faults: [`has ${text.length} bytes; at most ${pluggedBytesMax}`] }]
  try {
    const blocks = parsePem(text, ['CERTIFICATE'], file)
    if (blocks.length > certificatesMax)
      return [{ path: file, faults: [`holds ${blocks.length} certificates; at most ${certificatesMax}`] }]
    return blocks.map((der, i) => {
      const path = blocks.length > 1 ? `${file}[${i}]` : file
      return { path, ...readAuthority(der, path, now) }
    })
  } catch (cause) {
    if (!(cause instanceof Problem)) throw cause
    return [{ path: file, faults: [cause.violations[0]?.reason ?? cause.message] }]
  }
}

function wantsOne(file: string, read: { readonly [file: string]: readonly Read[] }): Violation[] {
  const count = read[file]?.length ?? 0
  return count > 1 ? [{ path: file, reason: `holds ${count} certificates; one is wanted` }] : []
}

const isSame = (one: KnownAuthority, other: KnownAuthority): boolean => same(one.certificate.der, other.certificate.der)

/** From `own` up, each with its issuer after it, as far as there is one. */
function pathFrom(own: KnownAuthority, all: readonly KnownAuthority[]): KnownAuthority[] {
  const path = [own]
  for (let last = own; path.length <= all.length; ) {
    if (isSelfIssued(last.certificate)) break
    const next = all.find((one) => !path.includes(one) && isIssuedBy(last.certificate, one.certificate))
    if (!next) break
    path.push(next)
    last = next
  }
  return path
}

const isSelfIssued = ({ subject, issuer }: Certificate): boolean => same(subject, issuer)

const isIssuedBy = (certificate: Certificate, issuer: Certificate): boolean =>
  same(certificate.issuer, issuer.subject) && isMadeBy(certificate, issuer)

type Place = Omit<PluggedExpectations, 'below'> & { readonly below: number | undefined; readonly isRoot: boolean }

const faultsOf = (
  { certificate }: KnownAuthority,
  { now, trustDomain, below, known = [], isRoot }: Place,
): string[] => [
  ...authorityFaults(certificate, below),
  ...dateFaults(certificate, now),
  ...(isRoot ? selfFaults(certificate) : []),
  ...reachFaults(certificate, trustDomain),
  ...twinFaults(certificate, known),
]

function ownFaults({ what, certificate }: KnownAuthority, key: Uint8Array | undefined): Violation[] {
  return [
    ...(certificate.subjectKeyId
      ? []
      : [{ path: what, reason: 'has no subject key identifier, which what it signs has to name' }]),
    ...(key && !same(key, certificate.publicKey.spki)
      ? [{ path: 'ca-key.pem', reason: `is not the key of ${what}` }]
      : []),
  ]
}

type OrderParts = {
  readonly root: Certificate | undefined
  /** False where there is no file of it; it may also be there and not be read. */
  readonly isGiven: boolean
  readonly chain: readonly Read[]
}

/** Whether the path ends in the root, and the chain holds just what leads there, in order. */
function orderFaults(path: readonly KnownAuthority[], { root, isGiven, chain }: OrderParts): Violation[] {
  const [own, last] = [path[0], path.at(-1)]
  if (!own || !last) return []
  const isAbove = (certificate: Certificate | undefined): boolean =>
    certificate !== undefined && path.some((one) => same(one.certificate.der, certificate.der))
  const useless = chain
    .filter(({ certificate }) => certificate && !isAbove(certificate))
    .map((one) => ({ path: one.path, reason: 'is of no use: it does not stand above the CA' }))
  if (!root && isGiven) return useless
  if (!root) return [{ path: 'root-cert.pem', reason: `is missing: ${own.what} was issued by another authority` }]
  if (!same(last.certificate.der, root.der)) {
    const [at, reason] = isSelfIssued(last.certificate)
      ? ['root-cert.pem', `is not the root that ${own.what} leads to: that is ${last.what}`]
      : ['cert-chain.pem', `is incomplete: nothing here has issued ${last.what}, which names ${issuerText(last)}`]
    return [...useless, { path: at, reason }]
  }
  const between = chain.flatMap(({ certificate }) => (certificate && isAbove(certificate) ? [certificate] : []))
  const ranks = between.map((one) => path.findIndex((other) => same(other.certificate.der, one.der)))
  const isOrdered = ranks.every((rank, i) => i === 0 || rank > (ranks[i - 1] ?? 0))
  return isOrdered
    ? useless
    : [...useless, { path: 'cert-chain.pem', reason: 'is out of order: each is to be followed by its issuer' }]
}

function issuerText({ certificate }: KnownAuthority): string {
  const attributes = readName(decode(certificate.issuer, 'issuer'), 'issuer')
  return `"${attributes
    .flatMap(({ text }) => text ?? [])
    .join(', ')
    .slice(0, 200)}"`
}
