import type { Certified, CertifiedKey } from '#gateway/identity/certified-key.ts'
import type { TrustDomain } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { type Certificate, certificatePem, parseCertificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { identityNames } from '#mesh/trust/names.ts'
import type { PublicKey } from '#mesh/trust/public-key.ts'
import { parseSpiffeId, type SpiffeId, spiffeId } from '#mesh/trust/spiffe-id.ts'

/** Who a certificate is for, within the cluster. The trust domain is the cluster's, never the asker's to choose. */
export type Holder = { readonly namespace: string; readonly serviceAccount: string }

export type Issued = {
  readonly certificate: Certificate
  /** PEM: leaf, issuing CA, and all roots in one text as the last element, as Istio's agents expect it. */
  readonly chain: readonly string[]
  readonly authority: Certified
}

/** The cluster's certificate authority for its own workloads. */
export type Issuer = {
  readonly trustDomain: TrustDomain
  /**
   * Throws `unavailable` while there is no issuing CA or it has ended, `invalid` for a name that is no SPIFFE id.
   * `lifeSeconds`: what was asked; at most a day, and never past the issuing CA's own end.
   */
  readonly issue: (key: PublicKey, holder: Holder, lifeSeconds: number) => Promise<Issued>
  /** The id in a client certificate (DER) that this cluster's CA, the present or an earlier one, signed. */
  readonly peerOf: (der: Uint8Array) => SpiffeId
}

export type IssuerParts = {
  readonly key: CertifiedKey
  readonly trustDomain: TrustDomain
  readonly clock: () => Date
  /** `n` random bytes. */
  readonly random: (n: number) => Uint8Array
  /** The trust bundle's roots (PEM) where newer than those that came with the issuing CA. */
  readonly roots?: () => readonly string[]
  /** SPIFFE ids that were revoked: their certificates do not renew themselves. */
  readonly denied?: () => readonly string[]
}

export function createIssuer(parts: IssuerParts): Issuer {
  const { trustDomain } = parts
  return {
    trustDomain,
    issue: ({ spki }, holder, lifeSeconds) => issue(parts, { spki, holder, lifeSeconds }),
    peerOf: (der) => peerOf(parts, der),
  }
}

type Asked = {
  readonly spki: Uint8Array
  readonly holder: Holder
  readonly lifeSeconds: number
}

async function issue({ key, trustDomain, clock, random, roots }: IssuerParts, asked: Asked): Promise<Issued> {
  const now = clock()
  const authority = authorityAt(key.current(), now)
  const certificate = await issueCertificate(
    {
      profile: 'workload',
      names: identityNames(spiffeId(trustDomain, asked.holder.namespace, asked.holder.serviceAccount)),
      publicKey: asked.spki,
      issuer: authority.chain[0],
      now,
      serial: random(16),
      lifeSeconds: asked.lifeSeconds,
    },
    authority.signer,
  )
  const anchors = roots?.() ?? []
  const pems = pemsOf(authority)
  const last = anchors.length > 0 ? joined(anchors) : pems.roots
  return { certificate, chain: [certificatePem(certificate), ...pems.chain, last], authority }
}

type Pems = { readonly chain: readonly string[]; readonly roots: string }

/** What every leaf of an issuing CA travels with, written once. */
function pemsOf(authority: Certified): Pems {
  const known = written.get(authority)
  if (known) return known
  const pems = { chain: authority.chain.map(certificatePem), roots: joined(authority.roots.map(certificatePem)) }
  written.set(authority, pems)
  return pems
}
const written = new WeakMap<Certified, Pems>()

const joined = (pems: readonly string[]): string => pems.map((pem) => (pem.endsWith('\n') ? pem : `${pem}\n`)).join('')

function authorityAt(certified: Certified | undefined, now: Date): Certified {
  if (!certified) throw new Problem('unavailable', 'this cluster has no issuing CA yet: the relay has not joined')
  const { notBefore, notAfter } = certified.chain[0]
  if (now < notBefore) throw new Problem('unavailable', `the issuing CA begins only at ${notBefore.toISOString()}`)
  if (now >= notAfter) {
    const since = notAfter.toISOString()
    throw new Problem(
      'unavailable',
      `the issuing CA ended at ${since}: the relay could not reach the centre to renew it`,
    )
  }
  return certified
}

/** Any fault is `unauthenticated`, with the reason as its cause: for the log, not for the caller. */
function peerOf({ key, trustDomain, clock, roots, denied }: IssuerParts, der: Uint8Array): SpiffeId {
  const refuse = (reason: unknown): Problem =>
    new Problem('unauthenticated', 'request authenticate failure', { cause: reason })
  const current = key.current()
  if (!current) throw refuse('there is no issuing CA to check client certificates by')
  const leaf = parseLeaf(der, refuse)
  const [uri, ...more] = leaf.names
  if (uri?.kind !== 'uri' || more.length > 0) throw refuse('the client certificate has not exactly one URI name')
  const anchors = [...current.roots, ...(roots?.() ?? []).flatMap((pem) => parseCertificates(pem, 'trust bundle', 16))]
  const faults = [current.chain[0], ...key.earlier()].map((authority) =>
    checkChain([leaf, authority], { roots: anchors, now: clock(), usage: 'clientAuth' }),
  )
  if (!faults.some((violations) => violations.length === 0)) throw refuse(JSON.stringify(faults[0]))
  const id = parseId(uri.text, refuse)
  if (id.trustDomain !== trustDomain) throw refuse(`the client certificate is of ${id.trustDomain}`)
  // Whoever has a stolen key would otherwise have the identity for ever. A pod's token still proves the pod.
  if (denied?.().includes(uri.text)) throw refuse(`${uri.text} is revoked`)
  return id
}

function parseLeaf(der: Uint8Array, refuse: (reason: unknown) => Problem): Certificate {
  try {
    const leaf = parseCertificate(der, 'client certificate')
    if (!leaf.ca) return leaf
  } catch (cause) {
    throw refuse(cause)
  }
  throw refuse('the client certificate is an authority')
}

function parseId(uri: string, refuse: (reason: unknown) => Problem): SpiffeId {
  try {
    return parseSpiffeId(uri)
  } catch (cause) {
    throw refuse(cause)
  }
}
