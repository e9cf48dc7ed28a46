import type { KeyObject } from 'node:crypto'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { certificatePem, parseCertificates } from '#mesh/trust/certificate.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import { checkChain } from '#mesh/trust/check-chain.ts'

/** A certificate ready for Envoy. The key is in memory only, and leaves it only by Envoy's secret socket. */
export type Identity = {
  readonly uri: string
  /** Leaf first, without the root. */
  readonly chainPem: string
  readonly rootsPem: string
  readonly keyPem: string
  readonly serial: string
  readonly notBefore: Date
  /** When the first certificate of the chain ends. */
  readonly notAfter: Date
}

/** What an answer to a certificate request is held against. */
export type Expected = {
  readonly uri: string
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
  readonly now: Date
}

/**
 * The identity in a relay's answer (PEM texts, leaf first, roots last). Throws `invalid` with every violation: another
 * key, another name, a broken chain, a time that is not now. Envoy would take such a certificate without a word and every
 * handshake would fail, so it is refused here, where the old one can be kept.
 * Source: the layout is that of istiod's CreateCertificate.
 */
export function identityOf(answer: readonly string[], { uri, keys, now }: Expected): Identity {
  if (answer.length < 2) throw refused(`it holds ${answer.length} elements; a leaf and its roots are expected`, now)
  const roots = parseCertificates(answer.at(-1) ?? '', 'the last element of the relay’s answer')
  const chain = parseCertificates(answer.slice(0, -1).join('\n'), 'the relay’s answer')
  const [leaf, issuer] = [...chain, ...roots]
  if (!leaf || !issuer) throw refused('it holds no leaf', now)
  const publicKey = keys.publicKey.export({ type: 'spki', format: 'der' })
  const violations = [
    ...checkCertificate(leaf, 'workload', { names: { uri }, now, publicKey, issuer: chain[1] ?? issuer }),
    ...checkChain(chain, { roots, now, usage: 'serverAuth' }),
    ...checkChain(chain, { roots, now, usage: 'clientAuth' }),
  ]
  const found = leaf.names.flatMap((name) => (name.kind === 'uri' ? [name.text] : [])).join(', ')
  if (found !== uri) throw refused(`it is for ${found || 'no URI'}, expected is ${uri}: ${wrongName}`, now, violations)
  if (violations.length > 0) throw refused(violations.map((v) => `${v.path} ${v.reason}`).join('; '), now, violations)
  return {
    uri,
    chainPem: chain.map(certificatePem).join(''),
    rootsPem: roots.map(certificatePem).join(''),
    keyPem: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    serial: Buffer.from(leaf.serial).toString('hex'),
    notBefore: leaf.notBefore,
    notAfter: new Date(Math.min(...[...chain, issuer].map((one) => one.notAfter.getTime()))),
  }
}

const wrongName =
  'the token names another service account than this proxy’s settings, or --relay-uri another trust domain'

const refused = (reason: string, now: Date, violations: readonly Violation[] = []): Problem =>
  new Problem('invalid', `the relay’s certificate is refused: ${reason} (the clock here says ${now.toISOString()})`, {
    violations,
  })
